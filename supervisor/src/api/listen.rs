//! Listening sockets: those that were configured, and those that the service manager passes.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockaddrLike as _, SockaddrStorage, getsockname};

use super::ApiError;
use crate::config::{ApiConfig, Unprotected};

/// Mode of the socket: the user and the group of the service may connect.
const SOCKET_MODE: u32 = 0o660;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// All listening sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listening>,
    /// The socket's file, if this process created it.
    pub(super) socket: Option<SocketFile>,
}

impl Sockets {
    /// Returns the TCP addresses.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let address = |listening: &Listening| match listening {
            Listening::Tcp(listener) => listener.local_addr().ok(),
            Listening::Unix(_) => None,
        };
        self.listeners.iter().filter_map(address).collect()
    }

    /// Returns what the service listens on, for display.
    pub(super) fn places(&self) -> Vec<String> {
        let place = |listening: &Listening| match (listening, &self.socket) {
            (Listening::Tcp(listener), _) => listener.local_addr().ok().map(|address| address.to_string()),
            // The kernel reports the name from before the rename.
            (Listening::Unix(_), Some(file)) => Some(file.path.display().to_string()),
            (Listening::Unix(listener), None) => {
                listener.local_addr().ok()?.as_pathname().map(|path| path.display().to_string())
            }
        };
        self.listeners.iter().filter_map(place).collect()
    }
}

/// A socket in the file system. Dropping this removes it, unless another one has replaced it.
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

/// Listens on everything that was configured.
///
/// # Errors
/// The first socket that fails.
pub(super) fn bind(config: &ApiConfig) -> Result<Sockets, ApiError> {
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
    let bound = Sockets { listeners, socket };
    let is_protected = config.token_file.is_some() && config.tls.is_some();
    if let Some(open) = bound.addresses().into_iter().find(|address| !address.ip().is_loopback())
        && !is_protected
    {
        return Err(Unprotected(open).into());
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

/// Creates the socket, replacing one that no process listens on any more.
fn unix(path: &Path) -> Result<(UnixListener, SocketFile), ApiError> {
    let refuse = |source: io::Error| ApiError::Socket { path: path.to_owned(), source };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(refuse)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(refuse(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file exists there that is not a socket",
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
    // Use another name until the mode is set, so that others cannot open it for a moment.
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

/// Returns the sockets that the service manager passes (`LISTEN_FDS`), whatever their names.
fn passed() -> io::Result<Vec<Listening>> {
    sd_notify::listen_fds()?.map(listening).collect()
}

fn listening(fd: RawFd) -> io::Result<Listening> {
    let address: SockaddrStorage = getsockname(fd)?;
    #[expect(unsafe_code, reason = "a descriptor passed by number has no owner yet")]
    // SAFETY: LISTEN_PID is our process, so the descriptor is open and meant for us; nothing else
    // owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    match address.family() {
        Some(AddressFamily::Unix) => Ok(Listening::Unix(fd.into())),
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Listening::Tcp(fd.into())),
        _ => Err(io::Error::other("a passed socket is neither Unix nor TCP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsFiles;

    fn config() -> ApiConfig {
        ApiConfig {
            socket: None,
            listen: Vec::new(),
            token_file: None,
            tls: None,
            trusted_proxies: Vec::new(),
            body_bytes_max: 1 << 20,
            connections_max: 16,
        }
    }

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/api.sock");
        let config = ApiConfig { socket: Some(path.clone()), ..config() };
        let first = bind(&config).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(bind(&config), Err(ApiError::InUse(_))));
        // The state that a kill leaves behind.
        let Sockets { listeners, socket } = first;
        std::mem::forget(socket);
        drop(listeners);
        let second = bind(&config).unwrap();
        drop(second);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        fs::write(&path, "precious").unwrap();
        let error = bind(&config).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let config = ApiConfig { socket: Some(path.clone()), ..config() };
        let Sockets { listeners, socket } = bind(&config).unwrap();
        drop(listeners);
        let successor = bind(&config).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(successor);
    }

    #[test]
    fn public_addresses_need_token_and_tls() {
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
