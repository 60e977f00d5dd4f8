/*
 * Copyright: (c) 2026, Headroom contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The workload of a lab guest: burns CPU and holds memory as one line of text says,
 *
 *     SLOT_SECONDS CPU_PERCENT,CPU_PERCENT,... MIB,MIB,...
 *
 * where percent is of ONE cpu (up to 100 per burner thread). Each list repeats for ever, counted from the moment the file was read.
 * The file is read again whenever it is replaced; between the events of the schedule the program sleeps.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BURNERS 4             /* the most vCPUs a lab guest has */
#define PERIOD_NS 250000000LL /* one duty cycle: short against a sample of 5 s, long against a wake-up */
#define BACKLOG_MAX_NS NS     /* what is later than this is dropped, as requests time out */
#define CHUNK 30000           /* loops between two looks at the clock: 0.1 ms under TCG, far shorter than a time slice of the host */
#define MEMORY_MAX_MIB 4096L  /* address space kept for the memory load; more than any guest can have */
#define MEMORY_SPARE_MIB 24L  /* growing stops here, so that the load itself never calls the OOM killer */
#define MIB (1024L * 1024L)
#define NS 1000000000LL

struct schedule {
    long slot_s, cpus, mems;
    long *cpu, *mem;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long percent_of[BURNERS];

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS + t.tv_nsec;
}

static void sleep_until(int64_t when_ns)
{
    struct timespec t = {when_ns / NS, when_ns % NS};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/*
 * Work, not time, is the measure: a burst that was interrupted (by the host, by a CPU quota, by another thread) goes on until it has had
 * its CPU time, as real work would. So a chunk counts for what it took, but for no more than twice what chunks usually take.
 */
static void *burn(void *mine)
{
    long *percent = mine;
    int64_t usual_ns = 0, due = now_ns();
    for (;; due += PERIOD_NS) {
        pthread_mutex_lock(&lock);
        while (*percent == 0)
            pthread_cond_wait(&changed, &lock);
        int64_t wanted_ns = PERIOD_NS / 100 * *percent, done_ns = 0;
        pthread_mutex_unlock(&lock);
        sleep_until(due);
        int64_t start = now_ns(), last = start;
        if (start - due > BACKLOG_MAX_NS)
            due = start;
        while (done_ns < wanted_ns && last - start < BACKLOG_MAX_NS) {
            for (volatile int i = 0; i < CHUNK; i++)
                ;
            int64_t now = now_ns(), took = now - last;
            last = now;
            if (usual_ns == 0 || took < usual_ns)
                usual_ns = took > 1000 ? took : 1000;
            else
                usual_ns += usual_ns / 1024; /* forgets: the machine may have become slower */
            done_ns += took < 2 * usual_ns ? took : 2 * usual_ns;
        }
    }
    return NULL;
}

static void set_cpu(long percent)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BURNERS; i++) {
        long rest = percent - 100L * i;
        percent_of[i] = rest < 0 ? 0 : rest > 100 ? 100 : rest;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static long available_mib(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "MemAvailable: %ld", &kib) != 1)
        ;
    if (f)
        fclose(f);
    return kib / 1024;
}

static void set_memory(char *base, long want_mib)
{
    static long held_mib;
    long page = sysconf(_SC_PAGESIZE);
    if (want_mib > MEMORY_MAX_MIB)
        want_mib = MEMORY_MAX_MIB;
    for (; held_mib < want_mib && available_mib() > MEMORY_SPARE_MIB; held_mib++)
        for (char *p = base + held_mib * MIB; p < base + (held_mib + 1) * MIB; p += page)
            *(volatile int64_t *)p = (int64_t)p; /* differs per page: nothing can merge them */
    if (held_mib > want_mib) {
        madvise(base + want_mib * MIB, (held_mib - want_mib) * MIB, MADV_DONTNEED);
        held_mib = want_mib;
    }
}

/* "1,2,3" -> {1, 2, 3}; returns how many, 0 if the text is anything else. */
static long parse_list(char *text, long **out)
{
    long n = 0, *values = malloc((strlen(text) / 2 + 1) * sizeof *values);
    for (char *end = text;; text = end + 1) {
        long value = strtol(text, &end, 10);
        if (!values || end == text || value < 0 || (*end && *end != ',')) {
            free(values);
            return 0;
        }
        values[n++] = value;
        if (!*end)
            break;
    }
    *out = values;
    return n;
}

static int read_schedule(const char *path, struct schedule *out)
{
    char *cpu = NULL, *mem = NULL;
    struct schedule s = {0};
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    int fields = fscanf(f, "%ld %ms %ms", &s.slot_s, &cpu, &mem);
    fclose(f);
    if (fields == 3 && s.slot_s > 0) {
        s.cpus = parse_list(cpu, &s.cpu);
        s.mems = parse_list(mem, &s.mem);
    }
    free(cpu);
    free(mem);
    if (!s.cpus || !s.mems) {
        if (s.cpus)
            free(s.cpu);
        if (s.mems)
            free(s.mem);
        fprintf(stderr, "guest-load: %s is not a schedule\n", path);
        return 0;
    }
    if (out->slot_s) {
        free(out->cpu);
        free(out->mem);
    }
    *out = s;
    return 1;
}

int main(int argc, char **argv)
{
    char events[4096] __attribute__((aligned(8)));
    struct schedule s = {0};
    int64_t start = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: guest-load FILE\n");
        return 2;
    }
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char *folder = strdup(argv[1]);
    char *base = mmap(NULL, MEMORY_MAX_MIB * MIB, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (watch < 0 || !folder || base == MAP_FAILED || inotify_add_watch(watch, dirname(folder), IN_MOVED_TO) < 0) {
        perror("guest-load");
        return 1;
    }
    madvise(base, MEMORY_MAX_MIB * MIB, MADV_NOHUGEPAGE); /* MiB asked for = MiB touched */
    for (int i = 0; i < BURNERS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, burn, &percent_of[i])) {
            fprintf(stderr, "guest-load: no thread\n");
            return 1;
        }
    }
    for (int again = 1;;) {
        int wait_ms = -1; /* no schedule yet: until a file arrives */
        if (again && read_schedule(argv[1], &s))
            start = now_ns();
        if (s.slot_s) {
            int64_t slot = (now_ns() - start) / (s.slot_s * NS);
            set_cpu(s.cpu[slot % s.cpus]);
            set_memory(base, s.mem[slot % s.mems]);
            wait_ms = (int)((start + (slot + 1) * s.slot_s * NS - now_ns()) / 1000000) + 1;
        }
        struct pollfd p = {watch, POLLIN, 0};
        again = poll(&p, 1, wait_ms < -1 ? 0 : wait_ms) > 0;
        while (again && read(watch, events, sizeof events) > 0)
            ;
    }
}
