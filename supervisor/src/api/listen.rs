//! Sockets to listen on: those that were asked for, and those that the service manager passes.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockaddrLike as _, SockaddrStorage, getsockname};

use super::ApiError;
use crate::service::config::ApiConfig;

/// Who may talk to the service: its user and its group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that is listened on.
#[derive(Debug)]
pub(super) enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// All that is listened on.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listeners: Vec<Listening>,
    /// The socket's file, if we made it.
    pub(super) socket: Option<SocketFile>,
}

impl Bound {
    /// The TCP addresses.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let address = |listening: &Listening| match listening {
            Listening::Tcp(listener) => listener.local_addr().ok(),
            Listening::Unix(_) => None,
        };
        self.listeners.iter().filter_map(address).collect()
    }

    /// Where it is listened, for a person.
    pub(super) fn places(&self) -> Vec<String> {
        let place = |listening: &Listening| match (listening, &self.socket) {
            (Listening::Tcp(listener), _) => listener.local_addr().ok().map(|address| address.to_string()),
            // What the kernel knows is the name before the last.
            (Listening::Unix(_), Some(file)) => Some(file.path.display().to_string()),
            (Listening::Unix(listener), None) => {
                listener.local_addr().ok()?.as_pathname().map(|path| path.display().to_string())
            }
        };
        self.listeners.iter().filter_map(place).collect()
    }
}

/// A socket in the file system, which goes when this does; unless somebody has put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on everything.
///
/// # Errors
/// The first that will not do.
pub(super) fn bind(config: &ApiConfig) -> Result<Bound, ApiError> {
    let mut listeners = passed().map_err(ApiError::Activation)?;
    let mut socket = None;
    let has_unix = listeners.iter().any(|listening| matches!(listening, Listening::Unix(_)));
    if let Some(path) = config.socket.as_deref().filter(|_| !has_unix) {
        let (listener, file) = unix(path)?;
        listeners.push(Listening::Unix(listener));
        socket = Some(file);
    }
    for &address in &config.listen {
        let listener = TcpListener::bind(address).map_err(|source| ApiError::Listen { address, source })?;
        listeners.push(Listening::Tcp(listener));
    }
    let bound = Bound { listeners, socket };
    let is_protected = config.token_file.is_some() && config.tls.is_some();
    if let Some(open) = bound.addresses().into_iter().find(|address| !address.ip().is_loopback())
        && !is_protected
    {
        return Err(ApiError::Unprotected(open));
    }
    if bound.listeners.is_empty() {
        return Err(ApiError::Nowhere);
    }
    for listening in &bound.listeners {
        match listening {
            Listening::Unix(listener) => listener.set_nonblocking(true),
            Listening::Tcp(listener) => listener.set_nonblocking(true),
        }
        .map_err(ApiError::Start)?;
    }
    Ok(bound)
}

/// Makes the socket, in the place of one that nobody listens on any more.
fn unix(path: &Path) -> Result<(UnixListener, SocketFile), ApiError> {
    let refuse = |source: io::Error| ApiError::Socket { path: path.to_owned(), source };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(refuse)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(refuse(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something else, which is no socket",
            )));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(ApiError::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ApiError::InUse(path.to_owned()));
            }
            Err(error) => return Err(refuse(error)),
        },
        Err(_) => {}
    }
    // Under another name until it has its mode: there is no moment at which others could open it.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // One that a killed service left; anything else there is somebody's.
    if fs::symlink_metadata(&new).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = fs::remove_file(&new);
    }
    let listener = UnixListener::bind(&new).map_err(refuse)?;
    let inode = fs::set_permissions(&new, Permissions::from_mode(SOCKET_MODE))
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| fs::symlink_metadata(path))
        .map_err(refuse)?
        .ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

/// What the service manager listens on for us (`LISTEN_FDS`), whatever it calls it.
fn passed() -> io::Result<Vec<Listening>> {
    sd_notify::listen_fds()?.map(listening).collect()
}

fn listening(fd: RawFd) -> io::Result<Listening> {
    let address: SockaddrStorage = getsockname(fd)?;
    #[expect(unsafe_code, reason = "a descriptor that was passed by its number has no owner yet")]
    // SAFETY: LISTEN_PID is ours, so the descriptor is open and was meant for us; nobody else takes it up.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    match address.family() {
        Some(AddressFamily::Unix) => Ok(Listening::Unix(fd.into())),
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Listening::Tcp(fd.into())),
        _ => Err(io::Error::other("neither Unix nor TCP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::TlsFiles;

    fn config() -> ApiConfig {
        ApiConfig {
            socket: None,
            listen: Vec::new(),
            token_file: None,
            tls: None,
            body_bytes_max: 1 << 20,
            connections_max: 16,
        }
    }

    #[test]
    fn a_socket_that_nobody_answers_on_is_replaced_and_another_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/api.sock");
        let config = ApiConfig { socket: Some(path.clone()), ..config() };
        let first = bind(&config).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(bind(&config), Err(ApiError::InUse(_))));
        // As a kill leaves it.
        let Bound { listeners, socket } = first;
        std::mem::forget(socket);
        drop(listeners);
        let second = bind(&config).unwrap();
        drop(second);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        fs::write(&path, "precious").unwrap();
        let error = bind(&config).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let config = ApiConfig { socket: Some(path.clone()), ..config() };
        let Bound { listeners, socket } = bind(&config).unwrap();
        drop(listeners);
        let successor = bind(&config).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(successor);
    }

    #[test]
    fn what_others_can_reach_needs_token_and_tls() {
        let open = ApiConfig { listen: vec![([0, 0, 0, 0], 0).into()], ..config() };
        assert!(matches!(bind(&open), Err(ApiError::Unprotected(_))));
        let token = ApiConfig { token_file: Some("/t".into()), ..open.clone() };
        assert!(matches!(bind(&token), Err(ApiError::Unprotected(_))));
        let tls = TlsFiles { certificates: "/c".into(), key: "/k".into() };
        assert!(matches!(bind(&ApiConfig { tls: Some(tls.clone()), ..open }), Err(ApiError::Unprotected(_))));
        assert!(bind(&ApiConfig { tls: Some(tls), ..token }).is_ok());
        assert!(bind(&ApiConfig { listen: vec![([127, 0, 0, 1], 0).into()], ..config() }).is_ok());
        assert!(matches!(bind(&config()), Err(ApiError::Nowhere)));
    }
}
