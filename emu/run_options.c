/*
 * The command line of vmm-run.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

static const char help[] =
  "Usage: vmm-run [options] program [arguments]\n"
  "Runs a Linux program for riscv64 in a paged address space of libvmm.\n"
  "\n"
  "  --root DIR         the guest's files are those below DIR\n"
  "  --env NAME=VALUE   sets a variable for the guest, which has those of\n"
  "                     vmm-run; may be repeated\n"
  "  --strace           writes a line a system call to standard error\n"
  "  --trace=LIST       of faults, insns: a line for each, likewise (slow)\n"
  "  --stats            writes counts of instructions, faults and pages\n"
  "  --exact            young and dirty pages one by one, not by chunk\n"
  "  --checked          memory by software, without the host's protection\n"
  "  --max-insns N      stops after about N instructions\n"
  "  --max-pages N      lets it have N pages of memory of its own at once; "
  "one\n"
  "                     more ends it, as SIGKILL does\n"
  "  --help, --version\n"
  "\n"
  "The exit status is the program's, or 128 + n if signal n ended it;\n"
  "  124  --max-insns was reached\n"
  "  125  vmm-run failed: bad options, no memory\n"
  "  126  the program can't be run: not an ELF file, wrong machine ...\n"
  "  127  there is no such program, or its interpreter is missing\n"
  "\n"
  "One process of one thread: no fork, execve, threads, sockets; handlers of\n"
  "signals are not run.  With --root, program and all paths of the guest are\n"
  "resolved below DIR and can't leave it; devices and mounts inside DIR are "
  "what\n"
  "they are.\n";

enum {
  ROOT,
  ENV,
  STRACE,
  TRACE,
  STATS,
  EXACT,
  CHECKED,
  MAX_INSNS,
  MAX_PAGES,
  HELP,
  VERSION
};

static const struct option long_options[] = {
  { "root", required_argument, NULL, ROOT },
  { "env", required_argument, NULL, ENV },
  { "strace", no_argument, NULL, STRACE },
  { "trace", required_argument, NULL, TRACE },
  { "stats", no_argument, NULL, STATS },
  { "exact", no_argument, NULL, EXACT },
  { "checked", no_argument, NULL, CHECKED },
  { "max-insns", required_argument, NULL, MAX_INSNS },
  { "max-pages", required_argument, NULL, MAX_PAGES },
  { "help", no_argument, NULL, HELP },
  { "version", no_argument, NULL, VERSION },
  { 0 },
};

static int complain(const char *what, const char *value)
{
  fprintf(stderr, "vmm-run: %s '%s'; see vmm-run --help\n", what, value);
  return RUN_FAILED;
}

/* => -1, or an exit status */
static int read_trace(struct run_options *options, const char *list)
{
  while (*list != '\0') {
    size_t length = strcspn(list, ",");

    if (length == 6 && strncmp(list, "faults", length) == 0)
      options->trace |= RUN_TRACE_FAULTS;
    else if (length == 5 && strncmp(list, "insns", length) == 0)
      options->trace |= RUN_TRACE_INSNS;
    else
      return complain("unknown trace", list);
    list += length;
    list += *list == ',';
  }
  return -1;
}

static int read_count(uint64_t *count, const char *text)
{
  char *end;

  errno = 0;
  *count = strtoull(text, &end, 0);
  if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || *count == 0)
    return complain("bad number", text);
  return -1;
}

static int read_env(const char *text)
{
  if (text[0] == '=' || strchr(text, '=') == NULL)
    return complain("no NAME=VALUE:", text);
  if (putenv((char *)text) != 0)
    return complain("no memory for", text);
  return -1;
}

static int version(void)
{
  printf("vmm-run %u.%u.%u\n", vmm_version() >> 16, vmm_version() >> 8 & 0xff,
         vmm_version() & 0xff);
  return 0;
}

static int read_one(struct run_options *options, int option)
{
  switch (option) {
  case ROOT:
    options->root = optarg;
    return -1;
  case ENV:
    return read_env(optarg);
  case STRACE:
    options->strace = 1;
    return -1;
  case TRACE:
    return read_trace(options, optarg);
  case STATS:
    options->stats = 1;
    return -1;
  case EXACT:
    options->exact = 1;
    return -1;
  case CHECKED:
    options->checked = 1;
    return -1;
  case MAX_INSNS:
    return read_count(&options->max_insns, optarg);
  case MAX_PAGES:
    return read_count(&options->max_pages, optarg);
  case HELP:
    fputs(help, stdout);
    return 0;
  case VERSION:
    return version();
  default: /* getopt has told why */
    return RUN_FAILED;
  }
}

int run_options_read(struct run_options *options, int argc, char **argv)
{
  int option;

  memset(options, 0, sizeof *options);
  argv[0] = (char *)"vmm-run"; /* for getopt's messages */
  while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
    int status = read_one(options, option);

    if (status >= 0)
      return status;
  }
  if (optind >= argc) {
    fputs("vmm-run: no program given; see vmm-run --help\n", stderr);
    return RUN_FAILED;
  }
  options->argv = argv + optind;
  options->envp = environ;
  return -1;
}
