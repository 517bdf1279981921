/* Where a program for Android begins, on arm64: its C library gets the stack as the kernel left it, main, and the lists of
 * what runs before and after it, of which there are none. */
  .text
  .globl _start
  .type _start, %function
_start:
  mov x29, #0
  mov x30, #0
  mov x0, sp
  mov x1, #0
  adrp x2, main
  add x2, x2, :lo12:main
  adrp x3, sr_no_lists
  add x3, x3, :lo12:sr_no_lists
  b __libc_init
  .size _start, . - _start

  .section .rodata, "a", %progbits
  .balign 8
  .type sr_no_lists, %object
sr_no_lists:
  .zero 48
  .size sr_no_lists, 48

  .section .note.GNU-stack, "", %progbits
