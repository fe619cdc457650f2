/*
 * A device for tests: bytes that its callbacks read and write, and a log of
 * what was asked.
 */
#ifndef VMM_TESTS_UART_H
#define VMM_TESTS_UART_H

#include "probe.h"

enum { BANK_NBYTES = 1 << 16 };

struct bank {
  struct vmm_object *device;
  uint8_t bytes[BANK_NBYTES];
  unsigned loads, stores;
  uint64_t offset; /* of the last one, */
  uint32_t nbytes; /* ... and its size */
  int refuse;
  void (*during)(struct bank *bank); /* called by each; or NULL */
};

static inline int bank_take(struct bank *bank, struct vmm_object *device,
                            uint64_t offset, uint32_t nbytes)
{
  bank->offset = offset;
  bank->nbytes = nbytes;
  if (device != bank->device || bank->refuse)
    return -ENODEV;
  if (bank->during != NULL)
    bank->during(bank);
  return 0;
}

static inline int bank_load(struct vmm_object *device, uint64_t offset,
                            void *value, uint32_t nbytes, void *arg)
{
  struct bank *bank = arg;
  int error;

  bank->loads++;
  error = bank_take(bank, device, offset, nbytes);
  if (error == 0)
    memcpy(value, bank->bytes + offset, nbytes);
  return error;
}

static inline int bank_store(struct vmm_object *device, uint64_t offset,
                             const void *value, uint32_t nbytes, void *arg)
{
  struct bank *bank = arg;
  int error;

  bank->stores++;
  error = bank_take(bank, device, offset, nbytes);
  if (error == 0)
    memcpy(bank->bytes + offset, value, nbytes);
  return error;
}

static inline void bank_make(struct bank *bank)
{
  struct vmm_device_options options = { .load = bank_load,
                                        .store = bank_store,
                                        .arg = bank };

  memset(bank, 0, sizeof(*bank));
  for (unsigned i = 0; i < BANK_NBYTES; i++)
    bank->bytes[i] = (uint8_t)(i * 7 + i / 256);
  ck_assert_ok(vmm_device_create(&bank->device, BANK_NBYTES, &options));
}

/* The last access was this one. */
#define ck_assert_asked(bank, at, size)                                        \
  do {                                                                         \
    ck_assert_uint_eq((bank)->offset, (at));                                   \
    ck_assert_uint_eq((bank)->nbytes, (size));                                 \
  } while (0)

#endif
