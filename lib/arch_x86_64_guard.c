/*
 * The frame of a guarded call on x86-64, by the System V ABI (AMD64 supplement,
 * section 3.2): what a function must keep is rbx, rbp, r12 to r15, the control
 * bits of mxcsr and the control word of x87.
 *
 *   CFA -  8  return address          CFA - 48  r14
 *   CFA - 16  rbp                     CFA - 56  r15
 *   CFA - 24  rbx                     CFA - 68  mxcsr, word now
 *   CFA - 32  r12                     CFA - 76  x87 word, mxcsr at the call
 *   CFA - 40  r13                     CFA - 80  *sp: mxcsr
 */
#define _GNU_SOURCE 1
#include "arch.h"

#include <ucontext.h>

enum {
  EFLAGS_TF = 1 << 8,  /* a trap after each instruction */
  EFLAGS_DF = 1 << 10, /* string instructions go down */
  EFLAGS_AC = 1 << 18, /* accesses must be aligned */
};

/* In the frame: 0 mxcsr, 4 x87 word, 8 and 12 room to compare them. */
__asm__(
    ".pushsection .text\n"
    ".balign 16\n"
    ".globl vmmi_arch_guard_run\n"
    ".hidden vmmi_arch_guard_run\n"
    ".type vmmi_arch_guard_run, @function\n"
    "vmmi_arch_guard_run:\n"
    "  .cfi_startproc\n"
    "  endbr64\n"
    "  pushq %rbp\n"
    "  .cfi_def_cfa_offset 16\n"
    "  .cfi_offset %rbp, -16\n"
    "  movq %rsp, %rbp\n"
    "  .cfi_def_cfa_register %rbp\n"
    "  pushq %rbx\n"
    "  .cfi_offset %rbx, -24\n"
    "  pushq %r12\n"
    "  .cfi_offset %r12, -32\n"
    "  pushq %r13\n"
    "  .cfi_offset %r13, -40\n"
    "  pushq %r14\n"
    "  .cfi_offset %r14, -48\n"
    "  pushq %r15\n"
    "  .cfi_offset %r15, -56\n"
    "  subq $24, %rsp\n"
    "  stmxcsr (%rsp)\n"
    "  fnstcw 4(%rsp)\n"
    "  movq %rsp, (%rdx)\n"
    "  movq %rdi, %rax\n"
    "  movq %rsi, %rdi\n"
    "  testq %rcx, %rcx\n"
    "  cmovneq %rcx, %rsp\n"
    "  call *%rax\n"
    /* fn returned: loading control words is slow, and seldom needed */
    "  leaq -64(%rbp), %rsp\n"
    "  stmxcsr 8(%rsp)\n"
    "  fnstcw 12(%rsp)\n"
    "  movl (%rsp), %ecx\n"
    "  movzwl 4(%rsp), %edx\n"
    "  xorl 8(%rsp), %ecx\n"
    "  xorw 12(%rsp), %dx\n"
    "  andl $0xffc0, %ecx\n"
    "  xorl %eax, %eax\n"
    "  orl %edx, %ecx\n"
    "  je 2f\n"
    "1:\n"
    "  fnclex\n"
    "  fldcw 4(%rsp)\n"
    "  ldmxcsr (%rsp)\n"
    "2:\n"
    "  addq $24, %rsp\n"
    "  popq %r15\n"
    "  popq %r14\n"
    "  popq %r13\n"
    "  popq %r12\n"
    "  popq %rbx\n"
    "  popq %rbp\n"
    "  .cfi_remember_state\n"
    "  .cfi_def_cfa %rsp, 8\n"
    "  ret\n"
    "  .cfi_restore_state\n"
    /* The landing pad: rsp is the frame, the rest is what fn left of it. */
    ".globl vmmi_arch_guard_pad\n"
    ".hidden vmmi_arch_guard_pad\n"
    "vmmi_arch_guard_pad:\n"
    "  .cfi_def_cfa %rsp, 80\n"
    "  leaq 64(%rsp), %rbp\n"
    "  .cfi_def_cfa %rbp, 16\n"
    "  fninit\n"
    "  movl $1, %eax\n"
    "  jmp 1b\n"
    "  .cfi_endproc\n"
    ".size vmmi_arch_guard_run, . - vmmi_arch_guard_run\n"
    ".balign 16\n"
    ".globl vmmi_arch_guard_leave\n"
    ".hidden vmmi_arch_guard_leave\n"
    ".type vmmi_arch_guard_leave, @function\n"
    "vmmi_arch_guard_leave:\n"
    "  .cfi_startproc\n"
    "  endbr64\n"
    "  movq %rdi, %rsp\n"
    "  .cfi_def_cfa %rsp, 80\n"
    "  jmp vmmi_arch_guard_pad\n"
    "  .cfi_endproc\n"
    ".size vmmi_arch_guard_leave, . - vmmi_arch_guard_leave\n"
    ".popsection\n");

extern const char vmmi_arch_guard_pad[]
    __attribute__((visibility("hidden")));

void vmmi_arch_guard_land(void *context, void *sp)
{
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

  registers[REG_RIP] = (greg_t)(uintptr_t)vmmi_arch_guard_pad;
  registers[REG_RSP] = (greg_t)(uintptr_t)sp;
  registers[REG_EFL] &= ~(greg_t)(EFLAGS_TF | EFLAGS_DF | EFLAGS_AC);
}
