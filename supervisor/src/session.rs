//! The session of a job: its number, whether it is logged in, its header profile and its proxy. Its cookies are in
//! [`crate::cookies`].
//!
//! Kept beside the journal, readable by its owner alone, so that a run that was killed goes on in the same session. What
//! does not fit the job any more (another account, another list of proxies) is not used.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use shared::clock;
use shared::job::FetchSpec;
use shared::proxy::Sticky;
use supervisor_core::pool::SessionStart;
use xxhash_rust::xxh3::xxh3_128;

use crate::whole_file::{self, Readers, WriteError};

/// The session of a job. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Session(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: Option<PathBuf>,
    kept: Kept,
    /// Hashes of the job's proxies.
    proxies: Vec<String>,
}

/// What the file holds. Secrets only as hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    number: u32,
    is_in: bool,
    /// The login, all that is said about it.
    login: String,
    /// The place of the header profile, and all profiles.
    profile: u16,
    profiles: String,
    /// The proxy.
    exit: Option<String>,
}

impl Session {
    /// Goes on with the session in a file, or begins one; `None` if the job's sessions are nothing but a jar. Nothing is
    /// written yet.
    pub(crate) fn open(spec: &FetchSpec, file: Option<&Path>) -> Option<Self> {
        let is_sticky = spec.proxies.sticky == Sticky::Session;
        if spec.login.is_none() && spec.profiles.is_empty() && !is_sticky {
            return None;
        }
        let (login, profiles) = (hash(&spec.login), hash(&spec.profiles));
        let found = file.and_then(|file| fs::read(file).ok());
        let found = found.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        let mut kept = found.unwrap_or_default();
        if kept.login != login {
            (kept.is_in, kept.login) = (false, login);
        }
        if kept.profiles != profiles {
            let count = u64::try_from(spec.profiles.len()).unwrap_or(u64::MAX).max(1);
            kept.profile = u16::try_from(clock::monotonic_us() % count).unwrap_or_default();
            (kept.is_in, kept.profiles) = (false, profiles);
        }
        let proxies = if is_sticky { spec.proxies.list.iter().map(hash).collect() } else { Vec::new() };
        let state = State { file: file.map(Path::to_owned), kept, proxies };
        // The proxy that it was logged in through may be gone.
        if let Some(exit) = &state.kept.exit
            && !state.proxies.contains(exit)
        {
            let kept = Kept { is_in: false, exit: None, ..state.kept };
            return Some(Self(Arc::new(Mutex::new(State { kept, ..state }))));
        }
        Some(Self(Arc::new(Mutex::new(state))))
    }

    /// What a run begins with.
    pub(crate) fn start(&self) -> SessionStart {
        let state = self.lock();
        let place =
            state.kept.exit.as_ref().and_then(|exit| state.proxies.iter().position(|hash| hash == exit));
        let exit = place.and_then(|place| u16::try_from(place).ok());
        SessionStart { number: state.kept.number, is_in: state.kept.is_in, exit }
    }

    /// The place of its header profile.
    pub(crate) fn profile(&self) -> u16 {
        self.lock().kept.profile
    }

    /// Begins another session, which is not logged in yet.
    pub(crate) fn begin(&self, number: u32, profile: u16) -> Result<(), WriteError> {
        let mut state = self.lock();
        state.kept = Kept { number, profile, is_in: false, exit: None, ..state.kept.clone() };
        state.write()
    }

    /// The session is logged in, through this proxy if it keeps one.
    pub(crate) fn logged_in(&self, exit: Option<u16>) -> Result<(), WriteError> {
        let mut state = self.lock();
        state.kept.is_in = true;
        state.kept.exit = state.hash_of(exit);
        state.write()
    }

    /// The session has this proxy now.
    pub(crate) fn moved(&self, exit: Option<u16>) -> Result<(), WriteError> {
        let mut state = self.lock();
        let exit = state.hash_of(exit);
        if exit == state.kept.exit {
            return Ok(());
        }
        state.kept.exit = exit;
        state.write()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hash_of(&self, exit: Option<u16>) -> Option<String> {
        self.proxies.get(usize::from(exit?)).cloned()
    }

    fn write(&self) -> Result<(), WriteError> {
        let Some(path) = &self.file else { return Ok(()) };
        // Plain data: this does not fail.
        let text = serde_json::to_vec(&self.kept).unwrap_or_default();
        whole_file::replace(path, Readers::OwnerAlone, &text)
    }
}

fn hash(value: &impl Serialize) -> String {
    let text = serde_json::to_vec(value).unwrap_or_default();
    format!("{:032x}", xxh3_128(&text))
}
