/*
 * Exception tables: code that may fault says where it goes on.
 *
 * The accessors load or store host memory, usually a window's, and jump to a
 * label of the calling function if nobody repairs the fault:
 *
 *   uint32_t value;
 *   vmm_try_load_u32(value, base + address, fault);
 *   ...
 * fault:             every local is intact, and value is what it was before;
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

/* For the hidden constructor.  A table is not copied; adding it again does
 * nothing.  -ENOMEM  too many tables (256)    -ENOENT  not registered */
VMM_API int vmm_extable_add(const struct vmm_extable_entry *start,
                            const struct vmm_extable_entry *end);
VMM_API int vmm_extable_remove(const struct vmm_extable_entry *start);

/*
 * The accessors without asm goto, of 1, 2, 4 or 8 bytes.  In a window they are
 * vmm_load(), vmm_store() and vmm_cas() of <vmm/access.h>, and need no signal.
 * => 0; -EFAULT whatever the reason; vmm_host_cas() also 1: not swapped, and
 *    *expected is what was there
 * -EINVAL  another number of bytes; a compare-and-swap that is not aligned
 */
VMM_API int vmm_host_load(const void *host, void *value, size_t nbytes);
VMM_API int vmm_host_store(void *host, const void *value, size_t nbytes);
VMM_API int vmm_host_cas(void *host, void *expected, const void *desired,
                         size_t nbytes);

/*
 * Registers [start, start + nbytes) of generated code, with a table of its own
 * (entries sorted by the address of their instruction, count of them), or a
 * handler, or both: the handler is asked for what the table does not name.  The
 * handler works like a region's (<vmm/fault.h>): VMM_RESUME, VMM_RETRY,
 * VMM_SKIP or VMM_DECLINE; fault->space is NULL if the fault is in no window.
 * It is asked about the code's SIGILL, SIGFPE and SIGTRAP too, by their
 * reasons; there VMM_RETRY runs a breakpoint's place again.
 *
 * -EEXIST  overlaps registered code    -ENOMEM  too many ranges (1024)
 * -EINVAL  also: entries that are not sorted, or not of the range
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
/* When it returns, the table and handler are no longer used: so that handler
 * may not call it, it would wait for itself.
 * -ENOENT  no range starts there */
VMM_API int vmm_code_unregister(const void *start);

/* ---- the accessors ---- */

typedef uint8_t __attribute__((may_alias)) vmmi_mem_u8;
typedef uint16_t __attribute__((may_alias)) vmmi_mem_u16;
typedef uint32_t __attribute__((may_alias)) vmmi_mem_u32;
typedef uint64_t __attribute__((may_alias)) vmmi_mem_u64;

/* An asm goto that has outputs: gcc 11, clang 11. */
#if defined __clang__
#define VMMI_ASM_GOTO (__clang_major__ >= 11)
#elif defined __GNUC__
#define VMMI_ASM_GOTO (__GNUC__ >= 11)
#else
#define VMMI_ASM_GOTO 0
#endif

#if defined __x86_64__ && VMMI_ASM_GOTO && !defined VMM_NO_ASM_GOTO

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
#define VMMI_EX_END(label)                                                     \
  goto vmmi_ex_done;                                                           \
  vmmi_ex_fault:                                                               \
  __asm__ volatile("");                                                        \
  goto label;                                                                  \
  vmmi_ex_done:;

/* temp is what the instruction fills: value is assigned where it did. */
#define vmmi_try_load(bits, temp, insn, value, pointer, label)                 \
  do {                                                                         \
    __label__ vmmi_ex_fault, vmmi_ex_done;                                     \
    temp vmmi_ex_value;                                                        \
    __asm__ volatile goto("1: " insn "\n\t"                                    \
                          VMMI_EX_ENTRY("%l[vmmi_ex_fault]")                   \
                          : "=r"(vmmi_ex_value)                                \
                          : "m"(*(const volatile vmmi_mem_u##bits *)(pointer)) \
                          :                                                    \
                          : vmmi_ex_fault);                                    \
    (value) = (__typeof__(value))vmmi_ex_value;                                \
    VMMI_EX_END(label)                                                         \
  } while (0)

#define vmmi_try_store(bits, insn, pointer, value, label)                      \
  do {                                                                         \
    __label__ vmmi_ex_fault, vmmi_ex_done;                                     \
    __asm__ volatile goto("1: " insn "\n\t"                                    \
                          VMMI_EX_ENTRY("%l[vmmi_ex_fault]")                   \
                          : "=m"(*(volatile vmmi_mem_u##bits *)(pointer))      \
                          : "r"((uint##bits##_t)(value))                       \
                          :                                                    \
                          : vmmi_ex_fault);                                    \
    VMMI_EX_END(label)                                                         \
  } while (0)

#define vmmi_try_cas(bits, insn, pointer, expected, desired, label)            \
  do {                                                                         \
    __label__ vmmi_ex_fault, vmmi_ex_done;                                     \
    uint##bits##_t vmmi_ex_old = (uint##bits##_t)(expected);                   \
    __asm__ volatile goto("1: lock " insn "\n\t"                               \
                          VMMI_EX_ENTRY("%l[vmmi_ex_fault]")                   \
                          : "+m"(*(volatile vmmi_mem_u##bits *)(pointer)),     \
                            "+a"(vmmi_ex_old)                                  \
                          : "r"((uint##bits##_t)(desired))                     \
                          : "memory", "cc"                                     \
                          : vmmi_ex_fault);                                    \
    (expected) = (__typeof__(expected))vmmi_ex_old;                            \
    VMMI_EX_END(label)                                                         \
  } while (0)

#define vmm_try_load_u8(value, pointer, label)                                 \
  vmmi_try_load(8, uint32_t, "movzbl %1, %k0", value, pointer, label)
#define vmm_try_load_u16(value, pointer, label)                                \
  vmmi_try_load(16, uint32_t, "movzwl %1, %k0", value, pointer, label)
#define vmm_try_load_u32(value, pointer, label)                                \
  vmmi_try_load(32, uint32_t, "movl %1, %k0", value, pointer, label)
#define vmm_try_load_u64(value, pointer, label)                                \
  vmmi_try_load(64, uint64_t, "movq %1, %q0", value, pointer, label)

#define vmm_try_store_u8(pointer, value, label)                                \
  vmmi_try_store(8, "movb %b1, %0", pointer, value, label)
#define vmm_try_store_u16(pointer, value, label)                               \
  vmmi_try_store(16, "movw %w1, %0", pointer, value, label)
#define vmm_try_store_u32(pointer, value, label)                               \
  vmmi_try_store(32, "movl %k1, %0", pointer, value, label)
#define vmm_try_store_u64(pointer, value, label)                               \
  vmmi_try_store(64, "movq %q1, %0", pointer, value, label)

#define vmm_try_cas_u32(pointer, expected, desired, label)                     \
  vmmi_try_cas(32, "cmpxchgl %k2, %0", pointer, expected, desired, label)
#define vmm_try_cas_u64(pointer, expected, desired, label)                     \
  vmmi_try_cas(64, "cmpxchgq %q2, %0", pointer, expected, desired, label)

/* Defined by the linker where the image has accessors. */
extern const struct vmm_extable_entry __start_vmm_extable[]
    __attribute__((weak, visibility("hidden")));
extern const struct vmm_extable_entry __stop_vmm_extable[]
    __attribute__((weak, visibility("hidden")));

/* One per image: weak and hidden, and vmm_extable_add() takes repeats.  The
 * first of its image, so that the others may use accessors. */
void vmmi_extable_enter(void);
void vmmi_extable_leave(void);

__attribute__((weak, visibility("hidden"), constructor(101))) void
vmmi_extable_enter(void)
{
  if (&__start_vmm_extable[0] != &__stop_vmm_extable[0])
    vmm_extable_add(__start_vmm_extable, __stop_vmm_extable);
}

__attribute__((weak, visibility("hidden"), destructor(101))) void
vmmi_extable_leave(void)
{
  if (&__start_vmm_extable[0] != &__stop_vmm_extable[0])
    vmm_extable_remove(__start_vmm_extable);
}

#else /* by calls: no signal is needed, and none is taken */

#define vmmi_host_load(type, value, pointer, label)                            \
  do {                                                                         \
    type vmmi_ex_value;                                                        \
    if (vmm_host_load((pointer), &vmmi_ex_value, sizeof(type)) != 0)           \
      goto label;                                                              \
    (value) = (__typeof__(value))vmmi_ex_value;                                \
  } while (0)
#define vmmi_host_store(type, pointer, value, label)                           \
  do {                                                                         \
    type vmmi_ex_value = (type)(value);                                        \
    if (vmm_host_store((pointer), &vmmi_ex_value, sizeof(type)) != 0)          \
      goto label;                                                              \
  } while (0)
#define vmmi_host_cas(type, pointer, expected, desired, label)                 \
  do {                                                                         \
    type vmmi_ex_old = (type)(expected), vmmi_ex_new = (type)(desired);        \
    if (vmm_host_cas((pointer), &vmmi_ex_old, &vmmi_ex_new, sizeof(type)) < 0) \
      goto label;                                                              \
    (expected) = (__typeof__(expected))vmmi_ex_old;                            \
  } while (0)

#define vmm_try_load_u8(v, p, l) vmmi_host_load(uint8_t, v, p, l)
#define vmm_try_load_u16(v, p, l) vmmi_host_load(uint16_t, v, p, l)
#define vmm_try_load_u32(v, p, l) vmmi_host_load(uint32_t, v, p, l)
#define vmm_try_load_u64(v, p, l) vmmi_host_load(uint64_t, v, p, l)
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
