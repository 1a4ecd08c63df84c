//! Carries out the commands of the pool.

use nix::sys::signal::Signal;
use shared::black_box::Reading;
use shared::clock;
use shared::job::JobSpec;
use shared::protocol::ToWorker;
use supervisor_core::pool::{Command, Event, Seat};

use super::Runtime;
use super::channel::Listener;
use super::process::Process;
use crate::shortage;

impl Runtime<'_> {
    pub(super) fn carry_out_all(&mut self) {
        while let Some(command) = self.pool.poll_command() {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Spawn(seat) => self.spawn(seat),
            Command::SendJob(seat) => {
                // Only on its way to a worker: it may hold secrets, and is written nowhere.
                let environment = self.job.program().map_or_else(Vec::new, |_| std::env::vars_os().collect());
                let job = JobSpec { slot: seat.slot, environment, ..self.job.clone() };
                self.send(seat, ToWorker::Job(Box::new(job)));
                self.send_jar(seat);
            }
            Command::SendSlice(seat, slice) => self.hand(seat, slice),
            Command::SendFlush(seat) => self.send(seat, ToWorker::Flush),
            Command::SendDrain(seat) => self.send(seat, ToWorker::Drain),
            Command::Terminate(seat) => self.signal(seat, Signal::SIGTERM),
            Command::Kill(seat) => self.signal(seat, Signal::SIGKILL),
            // A worker that is not listened to cannot be judged by its silence.
            Command::Sample(_) if self.blocked_since.is_some() => {}
            Command::Sample(seat) => {
                let Some(process) = self.process(seat) else { return };
                // The worker notes its CPU time only now and then. A worker that waits for a core is as busy as one that
                // has it.
                let busy = clock::cpu_of(process.pid())
                    .map(|cpu| cpu + clock::core_wait_of(process.pid()).unwrap_or_default());
                let busy_us = busy.and_then(|busy| u64::try_from(busy.as_micros()).ok());
                let reading = process.reading();
                let reading = Reading { cpu_us: busy_us.unwrap_or(reading.cpu_us), ..reading };
                self.parts.gather.resident(seat.slot, reading.rss_bytes_max);
                self.pool.handle_event(clock::now(), Event::Sampled(seat, reading, clock::monotonic_us()));
            }
            Command::Forget(seat) => {
                self.processes.remove(&seat);
                self.copies.forget(seat);
            }
            Command::Accept(id) => self.accept(id),
            Command::Reject(rejected) => self.reject(&rejected),
            Command::Quarantine(quarantined) => self.quarantine(&quarantined),
            Command::Abandon(abandoned) => self.abandon(&abandoned),
            Command::Notice(notice) => self.parts.observer.notice(&notice),
            Command::BeginSession(begun) => self.begin_session(begun),
            Command::LoggedIn(exit) => self.logged_in(exit),
            Command::LoginFailed(why) => self.login_failed(why),
        }
    }

    fn spawn(&mut self, seat: Seat) {
        let message_bytes_max = self.job.message_bytes_max();
        let (heard, earlier) = (self.heard_sender.clone(), self.earlier.clone());
        let listener = Listener { heard, message_bytes_max, earlier };
        let taken = self.parts.workers.take(seat, listener);
        if self.ended.failure.is_none() && taken.as_ref().is_err_and(shortage::is_meant) {
            // If the pool gives up, it does after this.
            self.ended.lacks_descriptors = true;
        }
        let event = match taken {
            Ok(process) => {
                self.parts.gather.started(seat.slot);
                self.processes.insert(seat, process);
                self.count_processes();
                Event::Spawned(seat)
            }
            Err(error) => Event::SpawnFailed(seat, error.to_string()),
        };
        self.pool.handle_event(clock::now(), event);
    }

    fn process(&self, seat: Seat) -> Option<&Process> {
        self.processes.get(&seat)
    }

    pub(super) fn send(&self, seat: Seat, message: ToWorker) {
        if let Some(process) = self.process(seat) {
            process.send(message);
        }
    }

    fn signal(&self, seat: Seat, signal: Signal) {
        if let Some(process) = self.process(seat) {
            process.signal(signal);
        }
    }
}
