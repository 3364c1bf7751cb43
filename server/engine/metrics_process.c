/* What Prometheus's client libraries show of every process, by the same names;
 * from /proc, as proc(5) says. */
#include "server/engine/metrics.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef struct process {
    double resident, virtual; /* bytes */
    double started;           /* seconds since 1970 */
} process;

/* A clock's seconds. */
static double
clock_of(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Fields 22 to 24 of /proc/self/stat; the second one, the program's name, may
 * hold blanks and brackets, so they are counted from its end. */
static void
read_stat(process *p)
{
    char text[1024];
    unsigned long long ticks, bytes;
    long pages;
    FILE *stat = fopen("/proc/self/stat", "re");
    if (!stat)
        return;
    size_t size = fread(text, 1, sizeof text - 1, stat);
    fclose(stat);
    text[size] = '\0';
    const char *end = strrchr(text, ')');
    if (!end || sscanf(end + 1,
                       " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u "
                       "%*d %*d %*d %*d %*d %*d %llu %llu %ld",
                       &ticks, &bytes, &pages) != 3)
        return;
    p->virtual = (double)bytes;
    p->resident = (double)pages * (double)sysconf(_SC_PAGESIZE);
    p->started = clock_of(CLOCK_REALTIME) - clock_of(CLOCK_BOOTTIME) +
                 (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

uint64_t
soma_metrics_resident(void)
{
    process p = {.resident = 0};
    read_stat(&p);
    return (uint64_t)p.resident;
}

static double
open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    if (!folder)
        return -1;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* without the folder's own */
}

static double
limit_of(int resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return -1;
    return (double)limit.rlim_cur;
}

/* A negative value: it is not known. */
static void
print(FILE *to, const char *name, const char *type, const char *help,
      double value)
{
    if (value < 0)
        return;
    soma_metrics_head(to, name, type, help);
    fprintf(to, "%s %.15g\n", name, value);
}

void
soma_metrics_process(FILE *to)
{
    process p = {-1, -1, -1};
    read_stat(&p);
    print(to, "process_cpu_seconds_total", "counter",
          "User and system CPU time.", clock_of(CLOCK_PROCESS_CPUTIME_ID));
    print(to, "process_open_fds", "gauge", "Open file descriptors.",
          open_descriptors());
    print(to, "process_max_fds", "gauge", "Most of them that there may be.",
          limit_of(RLIMIT_NOFILE));
    print(to, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
          p.virtual);
    print(to, "process_resident_memory_bytes", "gauge", "Resident memory.",
          p.resident);
    print(to, "process_start_time_seconds", "gauge",
          "When the process started, since 1970.", p.started);
}
