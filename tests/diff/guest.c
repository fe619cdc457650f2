/*
 * The guest program that runs sequences, and the two engines that run it.  It is
 * an ELF file made here, with one segment of code and one of blocks:
 *
 *   for each sequence:  x31 = its block; call load; the sequence; call store
 *   write(1, blocks); exit(0)
 */
#define _GNU_SOURCE
#include "diff.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/emu.h>

enum {
  CODE_MAX = 1 << 20,
  DRIVER = 512, /* bytes of load and store at the beginning */
  SYS_WRITE = 64,
  SYS_EXIT = 93,
  LINK = 30,
  BASE = 31,
};

extern char **environ;

struct code {
  uint8_t *bytes;
  size_t nbytes;
};

static void emit(struct code *c, uint32_t raw)
{
  memcpy(c->bytes + c->nbytes, &raw, 4);
  c->nbytes += 4;
}

static void emit_load(struct code *c, uint32_t opcode, unsigned rd, unsigned at)
{
  emit(c, opcode | 3 << 12 | rd << 7 | BASE << 15 | at << 20);
}

static void emit_store(struct code *c, uint32_t opcode, unsigned rs2,
                       unsigned at)
{
  emit(c, opcode | 3 << 12 | rs2 << 20 | BASE << 15 | (at & 31) << 7 |
              (at >> 5) << 25);
}

static void emit_return(struct code *c)
{
  emit(c, 0x67 | LINK << 15);
}

/* rd = value, a positive number below 2^31 */
static void emit_li(struct code *c, unsigned rd, uint32_t value)
{
  emit(c, 0x37 | rd << 7 | ((value + 0x800) & 0xfffff000));
  emit(c, 0x1b | rd << 7 | rd << 15 | value << 20);
}

static void emit_call(struct code *c, size_t target)
{
  uint32_t offset = (uint32_t)(target - c->nbytes);

  emit(c, 0x6f | LINK << 7 | (offset & 0x7fe) << 20 |
              (offset >> 11 & 1) << 20 | (offset & 0xff000) |
              (offset >> 20 & 1) << 31);
}

/* => where store begins; load is at 0 */
static size_t emit_driver(struct code *c)
{
  size_t store;
  unsigned i;

  emit_load(c, 0x03, 1, BLOCK_FCSR);
  emit(c, 0x73 | 1 << 12 | 1 << 15 | 3 << 20); /* csrrw x0,fcsr,x1 */
  for (i = 0; i < 32; i++)
    emit_load(c, 0x07, i, BLOCK_F + 8 * i);
  for (i = 1; i < LINK; i++)
    emit_load(c, 0x03, i, 8 * i);
  emit_return(c);
  store = c->nbytes;
  for (i = 1; i < LINK; i++)
    emit_store(c, 0x23, i, 8 * i);
  for (i = 0; i < 32; i++)
    emit_store(c, 0x27, i, BLOCK_F + 8 * i);
  emit(c, 0x73 | 2 << 12 | 1 << 7 | 3 << 20); /* csrrs x1,fcsr,x0 */
  emit_store(c, 0x23, 1, BLOCK_FCSR);
  emit_return(c);
  return store;
}

static void emit_sequence(struct code *c, const struct sequence *s)
{
  unsigned i;

  for (i = 0; i < s->nunits; i++) {
    memcpy(c->bytes + c->nbytes, s->units[i].parcels,
           2 * s->units[i].nparcels);
    c->nbytes += 2 * s->units[i].nparcels;
  }
}

/* => the entry, as an offset in the code */
static size_t emit_program(struct code *c, const struct sequence *s, size_t n)
{
  size_t store = emit_driver(c), entry = c->nbytes, i;

  for (i = 0; i < n; i++) {
    emit_li(c, BASE, (uint32_t)(BLOCKS_VA + i * BLOCK));
    emit_call(c, 0);
    emit_sequence(c, &s[i]);
    emit_call(c, store);
  }
  emit_li(c, 10, 1);
  emit_li(c, 11, (uint32_t)BLOCKS_VA);
  emit_li(c, 12, (uint32_t)(n * BLOCK));
  emit_li(c, 17, SYS_WRITE);
  emit(c, 0x73);
  emit_li(c, 10, 0);
  emit_li(c, 17, SYS_EXIT);
  emit(c, 0x73);
  return entry;
}

static Elf64_Phdr segment(uint32_t flags, size_t offset, uint64_t va,
                          size_t nbytes)
{
  Elf64_Phdr p = { .p_type = PT_LOAD, .p_flags = flags, .p_offset = offset,
                   .p_vaddr = va, .p_paddr = va, .p_filesz = nbytes,
                   .p_memsz = nbytes, .p_align = 4096 };

  return p;
}

static size_t pages(size_t nbytes)
{
  return (nbytes + 4095) & ~(size_t)4095;
}

/* => 0, or -1 and it was said why */
static int write_elf(const char *path, const struct code *code, size_t entry,
                     const struct sequence *s, size_t n)
{
  Elf64_Ehdr header = {
    .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                 EV_CURRENT },
    .e_type = ET_EXEC, .e_machine = EM_RISCV, .e_version = EV_CURRENT,
    .e_entry = CODE_VA + entry, .e_phoff = sizeof(header),
    .e_flags = 5 /* compressed, double-float */, .e_ehsize = sizeof(header),
    .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
  };
  size_t blocks = 4096 + pages(code->nbytes), i;
  Elf64_Phdr segments[2] = {
    segment(PF_R | PF_X, 4096, CODE_VA, code->nbytes),
    segment(PF_R | PF_W, blocks, BLOCKS_VA, n * BLOCK),
  };
  FILE *file = fopen(path, "wb");

  if (file == NULL) {
    perror(path);
    return -1;
  }
  fwrite(&header, sizeof(header), 1, file);
  fwrite(segments, sizeof(segments), 1, file);
  fseek(file, 4096, SEEK_SET);
  fwrite(code->bytes, code->nbytes, 1, file);
  fseek(file, (long)blocks, SEEK_SET);
  for (i = 0; i < n; i++)
    fwrite(s[i].block, BLOCK, 1, file);
  if (fclose(file) != 0 || chmod(path, 0700) != 0) {
    perror(path);
    return -1;
  }
  return 0;
}

/* ---- qemu ---- */

static bool run_theirs(const char *elf, const char *output, size_t n,
                       uint8_t *blocks)
{
  char *argv[] = { (char *)"qemu-riscv64", (char *)elf, NULL };
  posix_spawn_file_actions_t actions;
  int status, error;
  size_t got = 0;
  FILE *file;
  pid_t pid;

  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output,
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    fprintf(stderr, "qemu-riscv64: %s\n", strerror(error));
    return false;
  }
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  file = fopen(output, "rb");
  if (file != NULL) {
    got = fread(blocks, BLOCK, n, file);
    fclose(file);
  }
  if (status == 0 && got == n)
    return true;
  fprintf(stderr, "qemu-riscv64 ended with status %#x\n", (unsigned)status);
  return false;
}

/* ---- libvmm-emu ---- */

static int load(struct vmm_space *space, const struct code *code,
                const struct sequence *s, size_t n)
{
  int error = vmm_map_anon(space, CODE_VA, pages(code->nbytes),
                           VMM_READ | VMM_EXEC | VMM_WRITE);
  size_t i;

  if (error == 0)
    error = vmm_copyout(space, CODE_VA, code->bytes, code->nbytes, NULL);
  if (error == 0)
    error = vmm_protect(space, CODE_VA, pages(code->nbytes),
                        VMM_READ | VMM_EXEC);
  if (error == 0)
    error = vmm_map_anon(space, BLOCKS_VA, pages(n * BLOCK),
                         VMM_READ | VMM_WRITE);
  for (i = 0; error == 0 && i < n; i++)
    error = vmm_copyout(space, BLOCKS_VA + i * BLOCK, s[i].block, BLOCK, NULL);
  return error;
}

static bool run_cpu(struct vmm_space *space, size_t entry)
{
  struct vmm_cpu_exit exit = { .struct_size = sizeof(exit) };
  struct vmm_cpu *cpu;
  bool right;

  if (vmm_cpu_create(&cpu, space, NULL) != 0)
    return false;
  vmm_cpu_set(cpu, VMM_RISCV_PC, CODE_VA + entry);
  vmm_cpu_run(cpu, 0, &exit);
  right = exit.stop == VMM_CPU_ECALL && vmm_cpu_get(cpu, 17) == SYS_WRITE;
  if (!right)
    fprintf(stderr, "stopped (%u) at %#llx, instruction %#x\n", exit.stop,
            (unsigned long long)exit.pc, exit.insn);
  vmm_cpu_destroy(cpu);
  return right;
}

static bool run_ours(const struct code *code, size_t entry,
                     const struct sequence *s, size_t n, uint8_t *blocks)
{
  struct vmm_space *space;
  bool right;

  if (vmm_space_create(&space, NULL) != 0)
    return false;
  right = load(space, code, s, n) == 0 && run_cpu(space, entry) &&
          vmm_copyin(space, blocks, BLOCKS_VA, n * BLOCK, NULL) == 0;
  vmm_space_destroy(space);
  return right;
}

bool run_sequences(const struct sequence *s, size_t n, uint8_t *ours,
                   uint8_t *theirs)
{
  struct code code = { malloc(CODE_MAX), 0 };
  char folder[] = "/tmp/riscv-diff.XXXXXX", elf[64], output[64];
  bool right = false;
  size_t entry;

  if (code.bytes == NULL || mkdtemp(folder) == NULL) {
    free(code.bytes);
    return false;
  }
  snprintf(elf, sizeof(elf), "%s/guest", folder);
  snprintf(output, sizeof(output), "%s/blocks", folder);
  entry = emit_program(&code, s, n);
  if (write_elf(elf, &code, entry, s, n) == 0)
    right = run_theirs(elf, output, n, theirs) &&
            run_ours(&code, entry, s, n, ours);
  unlink(elf);
  unlink(output);
  rmdir(folder);
  free(code.bytes);
  return right;
}
