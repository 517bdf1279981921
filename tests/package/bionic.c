/* In the place of Android's C library, on top of glibc's, so that a program for Android can be run under emulation: where
 * such a program begins, and what glibc has a larger type for than Android and musl, which the program was compiled with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

void __libc_init(void *stack, void (*at_exit)(void), int (*main)(int, char **, char **), void *const lists[3]) {
  long *words = stack;
  char **arguments = (char **)(words + 1);
  if (at_exit || lists[0] || lists[1] || lists[2]) abort();
  exit(main((int)words[0], arguments, arguments + words[0] + 1));
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
  (void)attributes;
  memset(mutex, 0, 40);
  return 0;
}

int pthread_attr_init(pthread_attr_t *attributes) {
  memset(attributes, 0, 56);
  return 0;
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes) {
  (void)attributes;
  return bytes < 16384;
}

int pthread_attr_destroy(pthread_attr_t *attributes) {
  (void)attributes;
  return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument) {
  (void)attributes;
  return ((create *)dlsym(RTLD_NEXT, "pthread_create"))(thread, NULL, function, argument);
}
