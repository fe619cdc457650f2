# Debugging a program that uses libvmm.  Put into ~/.gdbinit, or say once:
#   source libvmm.gdb

# A fault is how a page is touched first: the library deals with it.
handle SIGSEGV nostop noprint pass
handle SIGBUS nostop noprint pass

define vmm-x
  if $argc < 2 || $argc > 3
    printf "vmm-x SPACE ADDRESS [COUNT]\n"
  else
    set $_vmm_left = 16
    if $argc == 3
      set $_vmm_left = (unsigned long) ($arg2)
    end
    set $_vmm_va = (unsigned long) ($arg1)
    while $_vmm_left > 0
      set $_vmm_byte = ((unsigned char *(*) (void *, unsigned long)) vmm_debug_ptr) ((void *) ($arg0), $_vmm_va)
      if $_vmm_byte == 0
        printf "0x%lx: no page\n", $_vmm_va
        set $_vmm_left = 0
      else
        # A row ends at 16 bytes, which is never across a page.
        set $_vmm_row = 16 - ($_vmm_va & 15)
        if $_vmm_row > $_vmm_left
          set $_vmm_row = $_vmm_left
        end
        printf "0x%lx:", $_vmm_va
        set $_vmm_i = 0
        while $_vmm_i < $_vmm_row
          printf " %02x", $_vmm_byte[$_vmm_i]
          set $_vmm_i = $_vmm_i + 1
        end
        printf "\n"
        set $_vmm_va = $_vmm_va + $_vmm_row
        set $_vmm_left = $_vmm_left - $_vmm_row
      end
    end
  end
end
document vmm-x
vmm-x SPACE ADDRESS [COUNT]: guest memory of a struct vmm_space *, COUNT bytes
(16 if not given) at guest address ADDRESS.  It is read through the alias, so it
needs no rights, faults nothing in and sets no bits.
end
