"""What is done on a mount, in this order, and what must be seen.

Each check is a shell script that starts in the mount; ``$tx`` is where main's transactions are.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALL", "CHECKS", "LINUX", "PLAIN", "UNIX", "Check"]

PLAIN, UNIX, LINUX = ALL = ("9p2000", "9p2000.u", "9p2000.L")
"""Dialects as mount(8) calls them."""


@dataclass(frozen=True, slots=True)
class Check:
    """A script and its output.

    Attributes:
        name: What is tried.
        script: Shell commands.
        output: All that they write.
        dialects: Those that can say it.
    """

    name: str
    script: str
    output: str
    dialects: tuple[str, ...] = ALL


CHECKS = (
    Check("ls_shows_the_root", "ls -1", "branch\ncommits\ndebug\nremotes\nsnapshots\ntrees\n"),
    Check(
        "mkdir_makes_a_branch",
        "mkdir branch/main && ls -1 branch && cat branch/main/head",
        "main\n\n",
    ),
    Check(
        "echo_writes_and_appends",
        """
        mkdir $tx/t
        echo one > $tx/t/rw/file
        echo two >> $tx/t/rw/file
        cat $tx/t/rw/file
        echo three > $tx/t/rw/file
        cat $tx/t/rw/file
        """,
        "one\ntwo\nthree\n",
    ),
    Check(
        "mv_renames_and_moves",
        """
        cd $tx/t/rw
        mkdir -p a/b
        echo moved > a/b/c
        mv a/b/c a/b/d
        mv a/b/d a/e
        find . -type f | sort
        cat a/e
        """,
        "./a/e\n./file\nmoved\n",
    ),
    Check(
        "an_open_file_is_renamed_under_its_reader",
        """
        cd $tx/t/rw
        echo content > old
        exec 3< old
        mv old new
        cat <&3
        ls -l new | cut -c1-10
        rm new
        """,
        "content\n-rw-rw-r--\n",
    ),
    Check(
        "a_directory_moves_with_its_files",
        """
        cd $tx/t/rw
        mv a/b a/c
        echo deep > a/c/file
        mv a/c moved 2>/dev/null
        cat moved/file
        rm -r moved
        """,
        "deep\n",
    ),
    Check(
        "chmod_makes_a_file_executable",
        """
        cd $tx/t/rw
        echo '#!/bin/sh' > run
        chmod +x run
        ls -l run | cut -c1-10
        """,
        "-rwxrwxr-x\n",
    ),
    Check(
        "a_directory_has_the_mode_that_it_has",
        """
        mkdir -m 700 $tx/t/rw/private
        chmod 700 $tx/t/rw/private
        ls -ld $tx/t/rw/private | cut -c1-10
        rmdir $tx/t/rw/private
        """,
        "drwxrwxr-x\n",
        (LINUX,),
    ),
    Check(
        "ln_makes_a_link",
        """
        cd $tx/t/rw
        ln -s file link
        readlink link
        cat link
        """,
        "file\nthree\n",
        (UNIX, LINUX),
    ),
    Check(
        "truncate_cuts_and_extends",
        """
        cd $tx/t/rw
        echo 12345 > cut
        truncate -s 3 cut
        wc -c < cut
        truncate -s 5 cut
        hexdump -C cut | head -n 1 | cut -c11-25
        rm cut
        """,
        "3\n31 32 33 00 00 \n",
    ),
    Check(
        "rm_takes_a_directory_with_its_files",
        "rm -r $tx/t/rw/a && ls $tx/t/rw/a 2>&1 || true",
        "ls: TX/t/rw/a: No such file or directory\n",
    ),
    Check(
        "rmdir_spares_files",
        """
        mkdir $tx/t/rw/full
        touch $tx/t/rw/full/file
        rmdir $tx/t/rw/full 2>&1 || rm -r $tx/t/rw/full
        """,
        "rmdir: 'TX/t/rw/full': Directory not empty\n",
        (LINUX,),
    ),
    Check("there_is_room", "test $(stat -f -c %a .) -gt 0 && echo room", "room\n", (LINUX,)),
    Check(
        "echo_commits",
        """
        echo First > $tx/t/msg
        echo commit > $tx/t/ctl
        ls -1 $tx
        cat branch/main/ro/file
        test -x branch/main/ro/run && echo executable
        cat snapshots/$(cat branch/main/head)/msg
        """,
        "three\nexecutable\nFirst\n\n",
    ),
    Check(
        "what_is_committed_is_read_only",
        "(echo x > branch/main/ro/file) 2>&1 | cut -d: -f4",
        " Read-only file system\n",
        (UNIX, LINUX),
    ),
    Check(
        "a_big_file_comes_back",
        """
        mkdir $tx/big
        dd if=/dev/urandom of=/tmp/big bs=64k count=80 2>/dev/null
        dd if=/tmp/big of=$tx/big/rw/big bs=1M conv=fsync 2>/dev/null
        cmp /tmp/big $tx/big/rw/big && echo same before
        echo commit > $tx/big/ctl
        test "$(md5sum < /tmp/big)" = "$(md5sum < branch/main/ro/big)" && echo same after
        wc -c < branch/main/ro/big
        """,
        "same before\nsame after\n5242880\n",
    ),
    Check(
        "a_conflict_is_shown_and_resolved",
        """
        mkdir branch/feature
        cat branch/main/head > branch/feature/fast-forward
        for name in main feature; do
            mkdir branch/$name/transactions/c
            echo $name > branch/$name/transactions/c/rw/file
            echo commit > branch/$name/transactions/c/ctl
        done
        mkdir $tx/m
        cat branch/feature/head > $tx/m/merge
        cat $tx/m/conflicts
        head -n 1 $tx/m/rw/file
        cat $tx/m/ours/file $tx/m/theirs/file $tx/m/base/file
        (echo commit > $tx/m/ctl) 2>/dev/null || echo refused
        echo resolved > $tx/m/rw/file
        cat $tx/m/conflicts
        echo commit > $tx/m/ctl
        cat branch/main/ro/file
        wc -l < snapshots/$(cat branch/main/head)/parents
        """,
        "file\n** Conflict **\nmain\nfeature\nthree\nrefused\nresolved\n2\n",
    ),
    Check(
        "streams_tell_of_commits",
        """
        touch /tmp/heads /tmp/trees
        cat branch/main/head.live > /tmp/heads &
        cat branch/main/watch/tree.live > /tmp/trees &
        lines() { until [ $(wc -l < /tmp/heads) -ge $1 -a $(wc -l < /tmp/trees) -ge $1 ]; do
            usleep 20000; done; }
        lines 1
        for number in 2 3; do
            mkdir $tx/s
            echo $number > $tx/s/rw/file
            echo commit > $tx/s/ctl
            lines $number
            test "$(tail -n 1 /tmp/heads)" = "$(cat branch/main/head)" && echo head $number
        done
        cut -c1-2 /tmp/trees
        kill %1 %2
        wait
        """,
        "head 2\nhead 3\nD-\nD-\nD-\n",
    ),
    Check(
        "a_blocked_reader_is_killed",
        """
        for signal in TERM KILL; do
            touch /tmp/read
            cat branch/main/head.live > /tmp/read &
            until [ -s /tmp/read ] && grep -q '^State:.D' /proc/$!/status; do usleep 20000; done
            kill -$signal $!
            wait $! 2>/dev/null || echo $?
            rm /tmp/read
        done
        cat branch/main/ro/file
        """,
        "143\n137\n3\n",
    ),
    Check(
        "branches_with_a_slash_are_listed",
        """
        mkdir branch/results%2Fjob
        ls -1 branch
        ls -1 branch/results%2Fjob | head -n 1
        rmdir branch/results%2Fjob
        ls -1 branch
        """,
        "feature\nmain\nresults%2Fjob\nfast-forward\nfeature\nmain\n",
    ),
    Check(
        "a_directory_longer_than_a_message_is_listed",
        """
        mkdir $tx/names
        cd $tx/names/rw
        mkdir d
        for number in $(seq 300); do : > "d/a name that takes several messages $number"; done
        ls d | wc -l
        cd /
        echo close > /mnt/$tx/names/ctl
        """,
        "300\n",
    ),
    Check(
        "a_refused_command_is_followed_by_another",
        """
        mkdir $tx/refused
        exec 3<> $tx/refused/ctl
        (echo nonsense >&3) 2>/dev/null || echo refused
        echo close >&3
        ls -1 $tx
        """,
        "refused\n",
    ),
    Check(
        "an_ordinary_user_commits",
        """
        user() { echo "$1:x:$2:$2::/:/bin/sh" >> /etc/passwd; }
        mkdir -p /etc && user alice 1000 && user bob 1001
        su alice -c "cd /mnt && mkdir branch/alices
            mkdir branch/alices/transactions/t && cd branch/alices/transactions/t
            mkdir rw/dir && echo alice > rw/dir/file && echo more >> rw/dir/file
            chmod +x rw/dir/file && mv rw/dir/file rw/dir/moved && echo commit > ctl"
        cat branch/alices/ro/dir/moved
        su bob -c "head -n 1 branch/alices/ro/dir/moved"
        """,
        "alice\nmore\nalice\n",
    ),
    Check(
        "every_user_of_a_mount_writes",
        """
        for name in alice bob; do
            su $name -c "mkdir $tx/$name && echo $name > $tx/$name/rw/$name
                stat -c 'owned by %U' $tx/$name/rw/$name
                echo commit > $tx/$name/ctl"
        done
        cat branch/main/ro/alice branch/main/ro/bob
        """,
        "owned by alice\nowned by bob\nalice\nbob\n",
        (UNIX, LINUX),
    ),
    Check(
        "an_example_is_mounted",
        """
        cd /hello
        ls -1
        cat hello
        echo been here > note
        cat note
        exec 3<> shout
        echo hey >&3
        cat <&3
        head -n 1 clock | wc -c
        """,
        "clock\nhello\nnote\nshout\nHello from 9P!\nbeen here\nHEY\n9\n",
    ),
)
