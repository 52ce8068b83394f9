//! Owns waiting for less than a millisecond, which sockets' readiness alone cannot: a timer among the sockets.

#[cfg(target_os = "linux")]
pub(crate) use linux::Timer;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// From here on milliseconds are fine enough.
    const COARSE: u64 = 20_000_000;

    #[derive(Debug)]
    pub(crate) struct Timer(OwnedFd);

    impl Timer {
        pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let fd =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(fd))
        }

        /// Rings after so many nanoseconds. What is returned is to be given to the poll.
        pub(crate) fn set(&self, nanoseconds: u64) -> io::Result<Duration> {
            if nanoseconds == 0 || nanoseconds >= COARSE {
                return Ok(Duration::from_nanos(nanoseconds));
            }
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Itimerspec {
                it_interval: zero,
                it_value: Timespec { tv_sec: 0, tv_nsec: nanoseconds.cast_signed() },
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            Ok(Duration::from_nanos(2 * COARSE))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// Elsewhere: waits of less than a millisecond are not waited but polled through.
    #[derive(Debug)]
    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn set(&self, nanoseconds: u64) -> io::Result<Duration> {
            Ok(Duration::from_millis(nanoseconds / 1_000_000))
        }
    }
}
