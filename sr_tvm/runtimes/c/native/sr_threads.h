/* A pool of threads that runs tasks of any number of callers, with memory that the callers bring. */
#ifndef SR_THREADS_H
#define SR_THREADS_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { SR_MAX_THREADS = 256, SR_STACK = 1 << 20 };

/* What TVM hands to a task beside its number: only the count is ever read. */
typedef struct {
  void *sync;
  int32_t tasks;
} sr_group;

typedef int (*sr_task)(int task, sr_group *group, void *data);

/* Memory that is given and taken back like a stack. */
typedef struct {
  uint8_t *base;
  size_t size, used;
} sr_arena;

typedef struct sr_job {
  struct sr_job *next;
  sr_task task;
  void *data;
  struct sr_run *run;
  int32_t tasks, begun, ended, failed;
} sr_job;

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  sr_job *jobs;
  int32_t threads, started, stop;
  pthread_t workers[SR_MAX_THREADS];
} sr_pool;

/* One run of a network: the memory of its kernels' tasks, one part for each. */
typedef struct sr_run {
  sr_pool *pool;
  int32_t threads;
  uint8_t *tasks;
  size_t task_bytes;
} sr_run;

/* What a thread is doing, for the functions that kernels call. */
typedef struct {
  sr_run *run;
  sr_arena *arena;
  int in_task;
} sr_context;

static pthread_once_t sr_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t sr_key;
static int sr_key_failed;

static void sr_make_key(void) { sr_key_failed = pthread_key_create(&sr_key, NULL); }

/* Thread-local variables would do, but Android before 10 has none in libraries. */
static sr_context *sr_current(void) { return pthread_getspecific(sr_key); }

static int sr_execute(sr_job *job, int32_t task) {
  sr_run *run = job->run;
  sr_arena arena = {run->tasks + (size_t)task * run->task_bytes, run->task_bytes, 0};
  sr_context context = {run, &arena, 1};
  sr_context *outer = sr_current();
  sr_group group = {NULL, job->tasks};
  if (pthread_setspecific(sr_key, &context)) return -1;
  int failed = job->task(task, &group, job->data);
  if (pthread_setspecific(sr_key, outer)) return -1;
  return failed;
}

/* Takes the next task of a job, runs it and notes that; the pool is locked before and after. */
static void sr_advance(sr_pool *pool, sr_job *job) {
  int32_t task = job->begun++;
  pthread_mutex_unlock(&pool->lock);
  int failed = sr_execute(job, task);
  pthread_mutex_lock(&pool->lock);
  if (failed) job->failed = 1;
  if (++job->ended == job->tasks) pthread_cond_broadcast(&pool->done);
}

static void *sr_work(void *data) {
  sr_pool *pool = data;
  pthread_mutex_lock(&pool->lock);
  while (!pool->stop) {
    sr_job *job = pool->jobs;
    while (job && job->begun == job->tasks) job = job->next;
    if (job)
      sr_advance(pool, job);
    else
      pthread_cond_wait(&pool->work, &pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* Runs task 0 up to tasks - 1, which is at most the run's threads, on the pool and on this thread; 0 if all went well. */
static int sr_parallel(sr_run *run, int32_t tasks, sr_task task, void *data) {
  sr_pool *pool = run->pool;
  sr_job job = {NULL, task, data, run, tasks, 0, 0, 0};
  if (tasks == 1) return sr_execute(&job, 0);
  pthread_mutex_lock(&pool->lock);
  job.next = pool->jobs;
  pool->jobs = &job;
  pthread_cond_broadcast(&pool->work);
  while (job.begun < tasks) sr_advance(pool, &job);
  while (job.ended < tasks) pthread_cond_wait(&pool->done, &pool->lock);
  sr_job **link = &pool->jobs;
  while (*link != &job) link = &(*link)->next;
  *link = job.next;
  pthread_mutex_unlock(&pool->lock);
  return job.failed ? -1 : 0;
}

static void sr_pool_stop(sr_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->stop = 1;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i], NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->lock);
}

/* Starts threads - 1 workers, for the caller works too; 0 if all started, else nothing is left. */
static int sr_pool_start(sr_pool *pool, int32_t threads) {
  pthread_attr_t attributes;
  if (pthread_once(&sr_key_once, sr_make_key) || sr_key_failed) return -1;
  if (pthread_mutex_init(&pool->lock, NULL)) return -1;
  if (pthread_cond_init(&pool->work, NULL)) {
    pthread_mutex_destroy(&pool->lock);
    return -1;
  }
  if (pthread_cond_init(&pool->done, NULL)) {
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    return -1;
  }
  pool->threads = threads;
  int failed = pthread_attr_init(&attributes);
  if (!failed) {
    failed = pthread_attr_setstacksize(&attributes, SR_STACK);
    while (!failed && pool->started < threads - 1) {
      failed = pthread_create(&pool->workers[pool->started], &attributes, sr_work, pool);
      if (!failed) pool->started++;
    }
    pthread_attr_destroy(&attributes);
  }
  if (failed) sr_pool_stop(pool);
  return failed ? -1 : 0;
}

#endif
