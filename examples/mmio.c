/*
 * A device in guest memory: a serial port of two registers, reached as memory
 * is, by plain C through the window.  libvmm-mmio decodes the instruction that
 * met it.
 *
 *   0  data    a byte stored is sent
 *   4  status  1: ready to send; every third look it is busy
 */
#include <stdio.h>
#include <string.h>
#include <vmm/mmio.h>
#include <vmm/vmm.h>

#define PORT 0x10000000

struct port {
  char sent[64];
  size_t nsent;
  unsigned looks;
};

/* Callbacks of code that touches a window run in signal context: no stdio
 * here. */
static int load(struct vmm_object *device, uint64_t offset, void *value,
                uint32_t nbytes, void *arg)
{
  struct port *port = arg;
  uint32_t status = ++port->looks % 3 != 0;

  (void)device;
  if (offset != 4 || nbytes != sizeof(status))
    return -1; /* the access becomes a fault */
  memcpy(value, &status, sizeof(status));
  return 0;
}

static int store(struct vmm_object *device, uint64_t offset, const void *value,
                 uint32_t nbytes, void *arg)
{
  struct port *port = arg;

  (void)device;
  if (offset != 0 || nbytes != 1 || port->nsent == sizeof(port->sent))
    return -1;
  port->sent[port->nsent++] = *(const char *)value;
  return 0;
}

/* Moves, as a driver for the real thing has them too: of a volatile variable a
 * compiler may make a comparison with memory, which is no move. */
static uint32_t read32(const void *at)
{
  uint32_t value;

  __asm__ volatile("movl %1, %0" : "=r"(value) : "m"(*(const uint32_t *)at));
  return value;
}

static void write8(void *at, char value)
{
  __asm__ volatile("movb %1, %0" : "=m"(*(char *)at) : "q"(value));
}

static void write32(void *at, uint32_t value)
{
  __asm__ volatile("movl %1, %0" : "=m"(*(uint32_t *)at) : "r"(value));
}

static void send(char *registers, const char *text)
{
  for (; *text != '\0'; text++) {
    while (read32(registers + 4) == 0)
      ;
    write8(registers, *text);
  }
}

static void send_too_wide(void *registers)
{
  write32(registers, 0);
}

int main(void)
{
  static struct port port;
  struct vmm_device_options options = { 0 };
  struct vmm_map_options map = { 0 };
  struct vmm_stats stats = { 0 };
  struct vmm_space *space = NULL;
  struct vmm_object *device;
  vmm_addr_t va = PORT;
  struct vmm_fault fault;
  char *base;

  options.load = load;
  options.store = store;
  options.arg = &port;
  map.rights = VMM_READ | VMM_WRITE;
  if (vmm_mmio_enable() != 0 || vmm_space_create(&space, NULL) != 0 ||
      vmm_device_create(&device, 0x10000, &options) != 0 ||
      (map.object = device, vmm_map(space, &va, 0x10000, &map)) != 0) {
    fprintf(stderr, "mmio: %s\n", vmm_error_text());
    return 1;
  }
  base = vmm_space_base(space);
  send(base + PORT, "hello, port");
  stats.struct_size = sizeof(stats);
  vmm_space_stats(space, &stats);
  printf("sent \"%.*s\" by %d accesses\n", (int)port.nsent, port.sent,
         (int)stats.performed);
  if (vmm_guard_call(send_too_wide, base + PORT, 0, &fault) == 1)
    printf("a store of 4 bytes: %s\n", vmm_fault_reason_name(fault.reason));
  vmm_object_release(device);
  return vmm_space_destroy(space) != 0;
}
