//! Unix sockets.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use columba::{Listener, Peer, Transport};

use crate::accept::Rest;
use crate::acceptor::{UnixAcceptor, UnixStream};

/// Accepts connections on a Unix socket. Who may connect is a matter of the file's permissions; the peer's address is the
/// user id of the process that did, `uid 1000`, say (on a [`reactor`](crate::reactor) under Linux only).
///
/// It waits where it is first polled, as a [`TcpListener`](crate::TcpListener) does.
#[derive(Debug)]
pub struct UnixListener {
    socket: UnixAcceptor,
    path: PathBuf,
    /// Device and number of the socket's file, so that no other is removed at the end.
    file: (u64, u64),
    rest: Rest,
}

impl UnixListener {
    /// Binds a path and listens. A socket that is there already and that nobody listens on, left over by a process that
    /// died, is replaced. The file is removed when the listener is dropped.
    ///
    /// # Errors
    /// Somebody listens there, the path is something else than a socket, or the directory cannot be written.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let socket = std::os::unix::net::UnixListener::bind(path).or_else(|error| {
            if error.kind() != io::ErrorKind::AddrInUse || !is_left_over(path) {
                return Err(error);
            }
            fs::remove_file(path)?;
            std::os::unix::net::UnixListener::bind(path)
        })?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            socket: UnixAcceptor::new(socket)?,
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
            rest: Rest::default(),
        })
    }

    /// The path it is bound to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Listener for UnixListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        let (stream, ()) = ready!(self.rest.poll(cx, |cx| self.socket.poll_accept(cx)))?;
        let peer = peer(&stream);
        Poll::Ready(Ok((stream.into_transport(), peer)))
    }

    fn address(&self) -> String {
        format!("unix {}", self.path.display())
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        let is_ours = |file: fs::Metadata| (file.dev(), file.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // Nobody is left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the path is a socket on which nobody listens.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let answer = std::os::unix::net::UnixStream::connect(path);
    is_socket && answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn peer(stream: &UnixStream) -> Peer {
    let address = user(stream).map(|user| format!("uid {user}").into());
    Peer { transport: "unix", address, ..Peer::default() }
}

fn user(stream: &UnixStream) -> Option<u32> {
    match stream {
        UnixStream::Tokio(stream) => stream.peer_cred().ok().map(|credentials| credentials.uid()),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        UnixStream::Reactor(stream) => rustix::net::sockopt::socket_peercred(stream.get_ref())
            .ok()
            .map(|credentials| credentials.uid.as_raw()),
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        UnixStream::Reactor(_) => None,
    }
}
