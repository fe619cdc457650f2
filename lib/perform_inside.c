/*
 * SIGNAL CONTEXT, but for vmm_set_decoder().  An instruction of host code that
 * met a device or a watched page is decoded, performed and completed in the
 * interrupted context.
 *
 * The address is what the instruction's operand says: the host tells only one
 * of an access that goes over the end of a page.
 */
#include "perform.h"

#include <errno.h>
#include <string.h>

#include <vmm/decode.h>

#include "arch.h"
#include "os.h"

static _Atomic(const struct vmm_decoder *) host_decoder;

int vmm_set_decoder(const struct vmm_decoder *decoder)
{
  static const struct vmm_decoder none;

  if (decoder != NULL &&
      (decoder->decode == NULL || decoder->complete == NULL ||
       memcmp(decoder->reserved, none.reserved, sizeof(none.reserved)) != 0))
    return vmmi_error(-EINVAL, "decoder: a function is missing", 0);
  atomic_store(&host_decoder, decoder);
  return 0;
}

size_t vmmi_perform_read_insn(uintptr_t insn, unsigned char *code)
{
  uintptr_t page = (uintptr_t)1 << vmmi_os_page_shift();
  size_t nbytes = VMMI_ARCH_INSN_MAX;

  if (vmmi_arch_copy(code, (const void *)insn, nbytes) == 0)
    return nbytes;
  nbytes = (size_t)vmmi_min(nbytes, page - (insn & (page - 1)));
  return vmmi_arch_copy(code, (const void *)insn, nbytes) == 0 ? nbytes : 0;
}

static int decode_insn(const struct vmm_decoder *decoder, uintptr_t insn,
                       const void *context, struct vmm_decoded *decoded)
{
  unsigned char code[VMMI_ARCH_INSN_MAX];
  size_t nbytes = vmmi_perform_read_insn(insn, code);

  if (decoder == NULL || nbytes == 0)
    return -ENOTSUP;
  return decoder->decode(code, nbytes, context, decoded);
}

/* => whether the operand is what the window denied */
static bool fits(const struct vmmi_request *request,
                 const struct vmm_decoded *decoded, vmm_addr_t va)
{
  return decoded->access == request->access && decoded->nbytes >= 1 &&
         decoded->nbytes <= sizeof(decoded->value) && va <= request->va &&
         request->va - va < decoded->nbytes;
}

/* The pages of the access that the host did not name: their faults are faults
 * of this instruction, before any of it is performed. */
static int resolve_others(struct vmmi_request *request, vmm_addr_t va,
                          uint32_t nbytes)
{
  uint64_t page = request->space->page_nbytes;
  vmm_addr_t known = vmmi_align_down(request->va, page);
  vmm_addr_t last = va + nbytes - 1;

  for (vmm_addr_t at = va; at <= last; at = vmmi_align_down(at, page) + page) {
    struct vmmi_request other = { .space = request->space,
                                  .window = request->window,
                                  .va = at,
                                  .access = request->access,
                                  .flags = request->flags,
                                  .nbytes = nbytes };
    int error = vmmi_align_down(at, page) != known ? vmmi_resolve(&other) : 0;

    if (error >= 0)
      continue;
    *request = other;
    return error;
  }
  return 0;
}

int vmmi_perform_insn(struct vmmi_request *request, uintptr_t insn,
                      void *context)
{
  const struct vmm_decoder *decoder = atomic_load(&host_decoder);
  struct vmmi_performance p = { .request = *request, .host_pc = (void *)insn };
  struct vmm_decoded decoded;
  vmm_addr_t va;
  int error;

  request->reason = VMM_FAULT_FORM;
  if (request->access == VMM_EXEC ||
      decode_insn(decoder, insn, context, &decoded) != 0)
    return -EFAULT;
  va = (vmm_addr_t)((uintptr_t)decoded.host - (uintptr_t)request->window->base);
  if (!fits(request, &decoded, va))
    return -EFAULT;
  request->nbytes = decoded.nbytes;
  error = resolve_others(request, va, decoded.nbytes);
  if (error != 0)
    return error;
  p.request.va = va;
  p.request.nbytes = decoded.nbytes;
  error = vmmi_perform(&p, decoded.value);
  if (error < 0) {
    request->va = p.request.va;
    request->reason = p.request.reason != VMM_FAULT_NONE
                          ? p.request.reason
                          : vmmi_thread_self.last.reason;
    return error;
  }
  if (error > 0) /* skip: a load reads zeros */
    memset(decoded.value, 0, sizeof(decoded.value));
  decoder->complete(context, &decoded);
  return 0;
}
