# Becomes the init of a rig: runs as process 1 of new namespaces, and never returns.
# Environment: RIG_TREE RIG_UPPER RIG_WORK RIG_ROOT RIG_CONSOLE, RIG_GROUPS (lines of
# "place options", options empty for version 2), RIG_DISKS (lines for mknod),
# RIG_BINDS (lines of folders, read-only).
set -eu
read -r _ || exec </dev/null # until the process that has started this one is out of the way
mount -t overlay overlay -o "lowerdir=$RIG_TREE,upperdir=$RIG_UPPER,workdir=$RIG_WORK" "$RIG_ROOT"
cd "$RIG_ROOT"
mount -t proc -o nosuid,nodev,noexec proc proc
# The kernel is the host's: nothing in here may turn its knobs.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
if [ -e proc/sysrq-trigger ]; then mount --bind /dev/null proc/sysrq-trigger; fi
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys

mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
printf '%s\n' "$RIG_DISKS" | while read -r device kind major minor; do
    [ -n "$device" ] || continue
    mknod -m 660 "./$device" "$kind" "$major" "$minor"
done
: >dev/console
mount --bind "$RIG_CONSOLE" dev/console
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run

count=$(printf '%s\n' "$RIG_GROUPS" | wc -l)
if [ "$count" -gt 1 ]; then
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    printf '%s\n' "$RIG_GROUPS" | while read -r place options; do
        mkdir "sys/fs/cgroup/$place"
        if [ -n "$options" ]; then
            mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$place"
        else
            mount -t cgroup2 cgroup2 "sys/fs/cgroup/$place"
        fi
        case $place in
            *,*) for one in $(printf %s "$place" | tr , ' '); do ln -s "$place" "sys/fs/cgroup/$one"; done ;;
        esac
    done
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi

printf '%s\n' "$RIG_BINDS" | while read -r folder; do
    [ -n "$folder" ] || continue
    mkdir -p "./$folder"
    mount --bind "$folder" "./$folder"
    mount -o remount,bind,ro "./$folder"
done

hostname "$RIG_NAME"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
# As on a real system; systemd leaves it as it is in a container.
mount --make-rshared /
exec env -i container=optimizer-rig TERM=dumb SYSTEMD_COLORS=0 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio \
    /sbin/init --log-target=journal --show-status=yes
