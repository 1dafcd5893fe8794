/* The guest's first process: counts aloud ten times a second, touches pages at a set rate, obeys the power button. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <linux/input.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PAGE = 4096, TICKS_PER_SECOND = 10, MAX_BUTTONS = 8 };

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static void say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

static int every(long nanoseconds)
{
    struct itimerspec when = {.it_interval.tv_nsec = nanoseconds, .it_value.tv_nsec = nanoseconds};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(timer, 0, &when, NULL);
    return timer;
}

/* A process of its own, so that the counter does not wait for it. */
static void touch_pages(long mib, long mib_per_second)
{
    size_t size = (size_t)mib << 20, offset = 0;
    unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(1);
    int timer = every(10 * 1000 * 1000);
    for (;;) {
        uint64_t expired;
        if (read(timer, &expired, sizeof expired) != sizeof expired)
            _exit(1);
        for (long pages = mib_per_second * (1 << 20) / PAGE / 100; pages > 0; pages--) {
            memory[offset]++;
            offset = (offset + PAGE) % size;
        }
    }
}

static int buttons(struct pollfd *wanted)
{
    glob_t found;
    int count = 0;
    if (glob("/dev/input/event*", 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && count < MAX_BUTTONS; i++)
            wanted[count++] = (struct pollfd){.fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC), .events = POLLIN};
    globfree(&found);
    return count;
}

static void obey(int button)
{
    struct input_event event;
    if (read(button, &event, sizeof event) != sizeof event)
        return;
    if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) {
        say("powering off\n");
        sync();
        reboot(RB_POWER_OFF);
    }
}

int main(void)
{
    long mib = setting("dirty_mib", 32), rate = setting("mib_per_second", 4);
    if (mib > 0 && rate > 0 && fork() == 0)
        touch_pages(mib, rate);

    struct pollfd wanted[1 + MAX_BUTTONS] = {{.fd = every(1000 * 1000 * 1000 / TICKS_PER_SECOND), .events = POLLIN}};
    int count = 1 + buttons(wanted + 1);
    char line[32];
    for (unsigned long tick = 0;;) {
        if (poll(wanted, count, -1) < 0)
            continue;
        uint64_t expired;
        if (wanted[0].revents && read(wanted[0].fd, &expired, sizeof expired) == sizeof expired) {
            snprintf(line, sizeof line, "tick %lu\n", tick++);
            say(line);
        }
        for (int i = 1; i < count; i++)
            if (wanted[i].revents)
                obey(wanted[i].fd);
    }
}
