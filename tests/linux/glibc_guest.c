/*
 * glibc_guest: a hosted program, for glibc.sh: what a C library asks of a kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

static void memory(void)
{
  int *numbers = malloc(100000 * sizeof *numbers);
  char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  for (int i = 0; i < 100000; i++)
    numbers[i] = rand();
  qsort(numbers, 100000, sizeof *numbers, compare);
  printf("%d %d\n", numbers[0], numbers[99999]);
  for (size_t n = 200000; n <= 50000000; n *= 5) { /* grows by mremap */
    numbers = realloc(numbers, n * sizeof *numbers);
    numbers[n - 1] = (int)n;
  }
  printf("%d %d\n", numbers[0], numbers[99999]);
  free(numbers);
  page[4097] = 1;
  printf("%d %d\n", page[4097], munmap(page, 1 << 20));
}

static void files(void)
{
  FILE *file = fopen("glibc.tmp", "w+");
  char line[64];
  struct stat st;
  long sum = 0;

  for (int i = 0; i < 50000; i++)
    fprintf(file, "%d\n", i);
  rewind(file);
  while (fgets(line, sizeof line, file) != NULL)
    sum += atol(line);
  fflush(file);
  fstat(fileno(file), &st);
  printf("%ld %ld %o\n", sum, (long)st.st_size, st.st_mode);
  fclose(file);
  printf("%d %d\n", remove("glibc.tmp"), stat("glibc.tmp", &st));
}

static void process(void)
{
  struct timespec time = { 0, 1000000 };
  sigset_t set;

  printf("%ld %ld %ld\n", sysconf(_SC_PAGESIZE), sysconf(_SC_CLK_TCK),
         (long)getauxval(AT_SECURE));
  printf("%d\n", nanosleep(&time, NULL));
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  sigpending(&set);
  printf("%d\n", sigismember(&set, SIGUSR1));
}

int main(int argc, char **argv)
{
  printf("%d %s %s\n", argc, argv[argc - 1], getenv("GREETING"));
  printf("%.15g %a %s\n", sqrt(2.0), exp(1.0), strerror(ENOENT));
  memory();
  files();
  process();
  return 42;
}
