//! Writes the board and notifies listeners.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, PoisonError};

use shared::clock;
use supervisor_core::pool::Standing;

use super::super::board::{Records, Update};
use super::StateLoop;
use super::job::Job;
use crate::runtime::WorkerSnapshot;
use crate::units;
use crate::view::{HostView, JobId, JobState, ServiceView, WorkerState, WorkerView};

/// Most hosts on the board.
const HOSTS_SHOWN: usize = 200;

impl StateLoop {
    /// Publishes a job that is new or has changed.
    pub(super) fn show_job(&self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let view = Arc::new(job.view());
        let records = Records { path: self.parts.store.records(id), committed: Arc::clone(&job.committed) };
        let board = self.parts.service.board();
        let mut jobs = board.jobs.write().unwrap_or_else(PoisonError::into_inner);
        let before = jobs.insert(id, (Arc::clone(&view), records));
        drop(jobs);
        // A job without an earlier version was counted at its submission, or by an earlier process.
        if let Some((before, _)) = before {
            board.metrics.job_changed(Some(&before), &view);
        }
        self.parts.service.publish(Update::Job(view));
    }

    /// Publishes the removal of a job.
    pub(super) fn hide_job(&self, id: JobId) {
        let board = self.parts.service.board();
        board.jobs.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Publishes workers, hosts and the service.
    pub(super) fn show_all(&self) {
        let board = self.parts.service.board();
        *board.workers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.worker_views());
        *board.hosts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.host_views());
        let service = Some(Arc::new(self.service_view()));
        *board.service.write().unwrap_or_else(PoisonError::into_inner) = service;
        self.parts.service.publish(Update::Pulse);
    }

    fn worker_views(&self) -> Vec<WorkerView> {
        let of_job = |job: &Job| {
            let progress = job.running.as_ref().and_then(|running| running.progress.as_ref());
            let id = job.row.id;
            let looks = progress.map(|progress| progress.workers.as_slice()).unwrap_or_default();
            looks.iter().map(|look| at_work(id, look)).collect::<Vec<_>>()
        };
        let mut views: Vec<_> = self.jobs.values().flat_map(of_job).collect();
        views.extend(self.parts.spares.pids().into_iter().map(spare));
        views.sort_by_key(|view| (view.job.is_none(), view.job, view.slot, view.pid));
        views
    }

    /// Returns the hosts, summed over all jobs.
    fn host_views(&self) -> Vec<HostView> {
        let progress = self.jobs.values().filter_map(|job| job.running.as_ref()?.progress.as_ref());
        let mut hosts: BTreeMap<&str, HostView> = BTreeMap::new();
        for look in progress.flat_map(|progress| &progress.hosts) {
            let host = hosts.entry(&look.name).or_insert_with(|| HostView {
                host: look.name.to_string(),
                in_flight: 0,
                in_flight_max: look.in_flight_max,
                waiting: 0,
                paused_ms: None,
                pace_per_s: None,
                refused: 0,
            });
            host.in_flight += look.in_flight;
            host.waiting += look.waiting as u64;
            host.in_flight_max = host.in_flight_max.into_iter().chain(look.in_flight_max).min();
            let paused_ms = look.paused.map(|paused| u64::try_from(paused.as_millis()).unwrap_or(u64::MAX));
            host.paused_ms = host.paused_ms.into_iter().chain(paused_ms).max();
            let pace_per_s = look.interval.map(|interval| 1.0 / interval.as_secs_f64());
            host.pace_per_s = host.pace_per_s.into_iter().chain(pace_per_s).min_by(f64::total_cmp);
            host.refused += u64::from(look.refused);
        }
        let mut views: Vec<_> = hosts.into_values().collect();
        views.sort_by_key(|host| std::cmp::Reverse((host.in_flight, host.waiting)));
        views.truncate(HOSTS_SHOWN);
        views
    }

    fn service_view(&self) -> ServiceView {
        let now = clock::now();
        let restarts = self.jobs.values().filter_map(|job| job.running.as_ref()?.progress.as_ref());
        ServiceView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.duration_since(self.started).as_secs_f64(),
            workers: self.workers,
            jobs_max: self.parts.config.jobs_max.get().min(self.workers),
            stopping: self.stopping,
            rss_bytes: clock::resident().now_bytes,
            cpu_s: clock::process_cpu().as_secs_f64(),
            restarts: self.restarts + restarts.map(|progress| progress.restarts).sum::<u64>(),
            warnings: self.parts.store.notes().to_vec(),
        }
    }

    /// Returns the status for `systemctl status`.
    pub(super) fn status(&self) -> String {
        let lives = || self.jobs.values().filter_map(|job| job.running.as_ref());
        let running = units::counted(lives().count() as u64, "job");
        if self.stopping {
            let progress = lives().filter_map(|running| running.progress.as_ref());
            let in_flight = progress.map(|progress| progress.counts.in_flight).sum();
            return format!("stopping: {running} finishing {} in flight", units::counted(in_flight, "input"));
        }
        let waiting = self.jobs.values().filter(|job| job.state() == JobState::Queued).count();
        format!("{running} running, {waiting} queued, {} workers", self.workers)
    }
}

fn at_work(job: JobId, look: &WorkerSnapshot) -> WorkerView {
    let reading = &look.reading;
    let since_us = clock::monotonic_us().saturating_sub(reading.since_us);
    #[expect(clippy::cast_precision_loss, reason = "microseconds that one target takes")]
    let target_ms = reading.target.map(|_| since_us as f64 / 1e3);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of CPU time of one process")]
    let cpu_s = reading.cpu_us as f64 / 1e6;
    WorkerView {
        pid: look.pid,
        state: match look.standing {
            Standing::Starting => WorkerState::Starting,
            Standing::Idle => WorkerState::Idle,
            Standing::Busy => WorkerState::Busy,
            Standing::Leaving => WorkerState::Leaving,
        },
        job: Some(job),
        slot: Some(look.seat.slot),
        in_flight: reading.in_flight,
        phase: reading.phase.name().to_owned(),
        target: reading.target,
        target_ms,
        rss_bytes: reading.rss_bytes,
        cpu_s,
    }
}

fn spare(pid: u32) -> WorkerView {
    // A spare writes nothing to its black box, so read its memory from /proc.
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    WorkerView {
        pid,
        state: WorkerState::Idle,
        job: None,
        slot: None,
        in_flight: 0,
        phase: shared::black_box::Phase::Idle.name().to_owned(),
        target: None,
        target_ms: None,
        rss_bytes: pages * procfs::page_size(),
        cpu_s: 0.0,
    }
}
