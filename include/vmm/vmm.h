/* All of libvmm: paged address spaces for a program of its own. */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <vmm/access.h>
#include <vmm/code.h>
#include <vmm/debug.h>
#include <vmm/decode.h>
#include <vmm/device.h>
#include <vmm/displace.h>
#include <vmm/extable.h>
#include <vmm/fault.h>
#include <vmm/fork.h>
#include <vmm/guard.h>
#include <vmm/guest_thread.h>
#include <vmm/hart.h>
#include <vmm/map.h>
#include <vmm/object.h>
#include <vmm/pager.h>
#include <vmm/pte.h>
#include <vmm/signals.h>
#include <vmm/snapshot.h>
#include <vmm/space.h>
#include <vmm/stats.h>
#include <vmm/test.h>
#include <vmm/tlb.h>
#include <vmm/tracker.h>
#include <vmm/trampoline.h>
#include <vmm/types.h>
#include <vmm/view.h>
#include <vmm/watch.h>

#endif
