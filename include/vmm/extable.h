/*
 * Exception tables: code that may fault says where it goes on.
 *
 * The accessors load or store host memory, usually a window's, and jump to a
 * label of the calling function if nobody repairs the fault:
 *
 *   uint32_t value;
 *   vmm_try_load_u32(value, base + address, fault);
 *   ...
 * fault:             value is undefined here, every other local is intact;
 *   vmm_fault_last(&record);
 *
 * The fast path is one plain instruction.  Registration is done by a hidden
 * constructor of each program or shared object that includes this header.
 *
 *   vmm_try_load_u8   _u16  _u32  _u64  (lvalue, pointer, label)
 *   vmm_try_store_u8  _u16  _u32  _u64  (pointer, value, label)
 *   vmm_try_cas_u32   _u64              (pointer, expected, desired, label)
 *
 * The last is a full barrier; expected is an lvalue, which gets what was there:
 * the swap was done if it is unchanged.
 */
#ifndef VMM_EXTABLE_H
#define VMM_EXTABLE_H

#include <vmm/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One entry: both fields are relative to their own address. */
struct vmm_extable_entry {
  int32_t fault; /* the instruction that may fault */
  int32_t fixup; /* where it goes on */
};

/* For the hidden constructor.  Tables may overlap nothing; they are not copied.
 * -ENOMEM  too many tables    -ENOENT  not registered */
VMM_API int vmm_extable_add(const struct vmm_extable_entry *start,
                            const struct vmm_extable_entry *end);
VMM_API int vmm_extable_remove(const struct vmm_extable_entry *start);

/* The accessors without asm goto: 0 or -EFAULT.  1, 2, 4 or 8 bytes. */
VMM_API int vmm_host_load(const void *host, void *value, size_t nbytes);
VMM_API int vmm_host_store(void *host, const void *value, size_t nbytes);
VMM_API int vmm_host_cas(void *host, void *expected, const void *desired,
                         size_t nbytes);

/*
 * Registers [start, start + nbytes) of generated code, with a table of its own
 * (entries sorted by the address of their instruction, count of them), or a
 * handler, or both: the handler is asked for what the table does not name.  The
 * handler works like a region's (<vmm/fault.h>): VMM_RESUME, VMM_RETRY, VMM_SKIP or
 * VMM_DECLINE; fault->space is NULL if the fault is in no window.
 *
 * -EEXIST  overlaps registered code    -ENOMEM  too many ranges (1024)
 */
struct vmm_code_options {
  const struct vmm_extable_entry *entries;
  size_t count;
  vmm_fault_handler *handler;
  void *arg;
  uint64_t reserved[4];
};
VMM_API int vmm_code_register(const void *start, size_t nbytes,
                              const struct vmm_code_options *options);
/* When it returns, the table and handler are no longer used.
 * -ENOENT  no range starts there */
VMM_API int vmm_code_unregister(const void *start);

/* ---- the accessors ---- */

typedef uint8_t __attribute__((may_alias)) vmmi_mem_u8;
typedef uint16_t __attribute__((may_alias)) vmmi_mem_u16;
typedef uint32_t __attribute__((may_alias)) vmmi_mem_u32;
typedef uint64_t __attribute__((may_alias)) vmmi_mem_u64;

#if defined __x86_64__ && defined __GNUC__ && !defined VMM_NO_ASM_GOTO

/* R keeps the section under --gc-sections; ? puts it into the function's group,
 * so that a discarded inline function takes its entry along. */
#define VMMI_EX_ENTRY(fixup)                                                   \
  ".pushsection vmm_extable, \"aR?\", @progbits\n\t"                           \
  ".balign 4\n\t"                                                              \
  ".long 1b - .\n\t"                                                           \
  ".long " fixup " - .\n\t"                                                    \
  ".popsection"

/*
 * gcc before 12.4 and 13.3 loses code on the edge from an asm goto with outputs
 * to a label that other edges reach too.  So each accessor has a label of its
 * own, which begins with an empty asm and then goes to the caller's.
 */
#define vmmi_try(asm_goto, label)                                              \
  do {                                                                         \
    __label__ vmmi_ex_fault, vmmi_ex_done;                                     \
    asm_goto;                                                                  \
    goto vmmi_ex_done;                                                         \
  vmmi_ex_fault:                                                               \
    __asm__ volatile("");                                                      \
    goto label;                                                                \
  vmmi_ex_done:;                                                               \
  } while (0)

#define vmmi_try_load(type, insn, out, value, pointer, label)                  \
  vmmi_try(__asm__ volatile goto("1: " insn " %1, " out "\n\t"                 \
                                 VMMI_EX_ENTRY("%l[vmmi_ex_fault]")            \
                                 : "=r"(value)                                 \
                                 : "m"(*(const volatile type *)(pointer))      \
                                 :                                             \
                                 : vmmi_ex_fault),                             \
           label)

#define vmmi_try_store(type, insn, in, constraint, pointer, value, label)      \
  vmmi_try(__asm__ volatile goto("1: " insn " " in ", %0\n\t"                  \
                                 VMMI_EX_ENTRY("%l[vmmi_ex_fault]")            \
                                 : "=m"(*(volatile type *)(pointer))           \
                                 : constraint((type)(value))                   \
                                 :                                             \
                                 : vmmi_ex_fault),                             \
           label)

#define vmmi_try_cas(type, insn, in, pointer, expected, desired, label)        \
  vmmi_try(__asm__ volatile goto("1: lock " insn " " in ", %0\n\t"             \
                                 VMMI_EX_ENTRY("%l[vmmi_ex_fault]")            \
                                 : "+m"(*(volatile type *)(pointer)),          \
                                   "+a"(expected)                              \
                                 : "r"((type)(desired))                        \
                                 : "memory", "cc"                              \
                                 : vmmi_ex_fault),                             \
           label)

#define vmm_try_load_u8(value, pointer, label)                                 \
  vmmi_try_load(vmmi_mem_u8, "movb", "%b0", value, pointer, label)
#define vmm_try_load_u16(value, pointer, label)                                \
  vmmi_try_load(vmmi_mem_u16, "movw", "%w0", value, pointer, label)
#define vmm_try_load_u32(value, pointer, label)                                \
  vmmi_try_load(vmmi_mem_u32, "movl", "%k0", value, pointer, label)
#define vmm_try_load_u64(value, pointer, label)                                \
  vmmi_try_load(vmmi_mem_u64, "movq", "%q0", value, pointer, label)

#define vmm_try_store_u8(pointer, value, label)                                \
  vmmi_try_store(vmmi_mem_u8, "movb", "%b1", "q", pointer, value, label)
#define vmm_try_store_u16(pointer, value, label)                               \
  vmmi_try_store(vmmi_mem_u16, "movw", "%w1", "r", pointer, value, label)
#define vmm_try_store_u32(pointer, value, label)                               \
  vmmi_try_store(vmmi_mem_u32, "movl", "%k1", "r", pointer, value, label)
#define vmm_try_store_u64(pointer, value, label)                               \
  vmmi_try_store(vmmi_mem_u64, "movq", "%q1", "r", pointer, value, label)

#define vmm_try_cas_u32(pointer, expected, desired, label)                     \
  vmmi_try_cas(vmmi_mem_u32, "cmpxchgl", "%k2", pointer, expected, desired,    \
               label)
#define vmm_try_cas_u64(pointer, expected, desired, label)                     \
  vmmi_try_cas(vmmi_mem_u64, "cmpxchgq", "%q2", pointer, expected, desired,    \
               label)

/* Defined by the linker where the image has accessors. */
extern const struct vmm_extable_entry __start_vmm_extable[]
    __attribute__((weak, visibility("hidden")));
extern const struct vmm_extable_entry __stop_vmm_extable[]
    __attribute__((weak, visibility("hidden")));

/* One per image: weak and hidden, and vmm_extable_add() takes repeats. */
__attribute__((weak, visibility("hidden"), constructor)) void
vmmi_extable_enter(void)
{
  if (&__start_vmm_extable[0] != &__stop_vmm_extable[0])
    vmm_extable_add(__start_vmm_extable, __stop_vmm_extable);
}

__attribute__((weak, visibility("hidden"), destructor)) void
vmmi_extable_leave(void)
{
  if (&__start_vmm_extable[0] != &__stop_vmm_extable[0])
    vmm_extable_remove(__start_vmm_extable);
}

#else /* by calls: no signal is needed, and none is taken */

#define vmmi_host_load(value, pointer, label)                                  \
  do {                                                                         \
    if (vmm_host_load((pointer), &(value), sizeof(value)) != 0)                \
      goto label;                                                              \
  } while (0)
#define vmmi_host_store(type, pointer, value, label)                           \
  do {                                                                         \
    type vmmi_value = (type)(value);                                           \
    if (vmm_host_store((pointer), &vmmi_value, sizeof(vmmi_value)) != 0)       \
      goto label;                                                              \
  } while (0)
#define vmmi_host_cas(type, pointer, expected, desired, label)                 \
  do {                                                                         \
    type vmmi_desired = (type)(desired);                                       \
    if (vmm_host_cas((pointer), &(expected), &vmmi_desired,                    \
                     sizeof(vmmi_desired)) < 0)                                \
      goto label;                                                              \
  } while (0)

#define vmm_try_load_u8 vmmi_host_load
#define vmm_try_load_u16 vmmi_host_load
#define vmm_try_load_u32 vmmi_host_load
#define vmm_try_load_u64 vmmi_host_load
#define vmm_try_store_u8(p, v, l) vmmi_host_store(uint8_t, p, v, l)
#define vmm_try_store_u16(p, v, l) vmmi_host_store(uint16_t, p, v, l)
#define vmm_try_store_u32(p, v, l) vmmi_host_store(uint32_t, p, v, l)
#define vmm_try_store_u64(p, v, l) vmmi_host_store(uint64_t, p, v, l)
#define vmm_try_cas_u32(p, e, d, l) vmmi_host_cas(uint32_t, p, e, d, l)
#define vmm_try_cas_u64(p, e, d, l) vmmi_host_cas(uint64_t, p, e, d, l)

#endif

#ifdef __cplusplus
}
#endif
#endif
