//! Records and events that arrive while a client listens.

use super::*;

/// A connection whose response is read as it arrives.
struct Stream {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Stream {
    fn open(bench: &Bench, path: &str) -> Self {
        let mut stream = UnixStream::connect(bench.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Reads until this text has arrived, and drops everything up to its end.
    #[track_caller]
    fn wait(&mut self, text: &str) {
        loop {
            let at = self.read.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = at {
                self.read.drain(..at + text.len());
                return;
            }
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk).unwrap_or_else(|error| {
                panic!("no {text:?} but {error}: {}", String::from_utf8_lossy(&self.read))
            });
            assert!(read > 0, "it ended without {text:?}: {}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&chunk[..read]);
        }
    }

    fn rest(mut self) -> String {
        self.stream.read_to_end(&mut self.read).unwrap();
        String::from_utf8(self.read).unwrap()
    }
}

#[test]
fn committed_records_are_shown() {
    let bench = Bench::new();
    let id = bench.job();
    let path = format!("/v1/jobs/{id}/records");
    let none = bench.get(&path);
    assert_eq!((none.status, none.text()), (200, ""));
    assert_eq!(none.header("content-type"), Some("application/x-ndjson"));
    bench.record(id, "{\"id\":0}\n{\"id\":1,\"error\":{\"kind\":\"dns\"}}\n");
    let (_, records) = bench.service.job(JobId(id)).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&records.path).unwrap();
    file.write_all(b"{\"id\":2}\n").unwrap();
    assert_eq!(bench.get(&path).text(), "{\"id\":0}\n{\"id\":1,\"error\":{\"kind\":\"dns\"}}\n");
    assert_eq!(bench.get(&format!("{path}?from=1")).text(), "{\"id\":1,\"error\":{\"kind\":\"dns\"}}\n");
    assert_eq!(bench.get(&format!("{path}?limit=1")).text(), "{\"id\":0}\n");
    assert_eq!(bench.get(&format!("{path}?only=failed")).text(), "{\"id\":1,\"error\":{\"kind\":\"dns\"}}\n");
    assert_eq!(bench.get(&format!("{path}?only=quarantined")).text(), "");
    assert_eq!(bench.request(&format!("HEAD {path}"), "", b"").status, 200);
    bench.get("/v1/jobs/99/records").problem(404, "99");
}

#[test]
fn records_are_followed_until_the_job_has_ended() {
    let bench = Bench::new();
    let id = bench.job();
    let mut stream = Stream::open(&bench, &format!("/v1/jobs/{id}/records?follow=1&from=1"));
    stream.wait("\r\n\r\n");
    bench.record(id, "{\"id\":0}\n{\"id\":1}\n");
    stream.wait("{\"id\":1}\n");
    bench.record(id, "{\"id\":2}\n");
    stream.wait("{\"id\":2}\n");
    bench.record(id, "{\"id\":3}\n");
    bench.set_state(id, JobState::Done);
    stream.wait("{\"id\":3}\n");
    assert_eq!(stream.rest(), "\r\n0\r\n\r\n");
}

#[test]
fn many_records_come_whole() {
    let bench = Bench::new();
    let id = bench.job();
    let lines: String = (0..50_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    bench.record(id, &lines);
    assert!(bench.get(&format!("/v1/jobs/{id}/records")).text() == lines);
    let from = bench.get(&format!("/v1/jobs/{id}/records?from=49999"));
    assert_eq!(from.text(), "{\"id\":49999}\n");
}

#[test]
fn a_follower_that_leaves_makes_room_for_another() {
    let bench = Bench::with(|config| config.connections_max = 1_000);
    let id = bench.job();
    let path = format!("/v1/jobs/{id}/records?follow=1");
    // One user gets half of the places.
    let mut followers: Vec<_> = (0..STREAMS_MAX / 2).map(|_| Stream::open(&bench, &path)).collect();
    followers.iter_mut().for_each(|follower| follower.wait("HTTP/1.1 200"));
    bench.get("/v1/events").problem(503, "too many");
    bench.get(&path).problem(503, "too many");
    // Clients on TCP have their own.
    let mut other = TcpStream::connect(bench.tcp()).unwrap();
    other.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 12];
    other.read_exact(&mut head).unwrap();
    assert_eq!(head, *b"HTTP/1.1 200");
    drop(followers);
    until("there is room again", || {
        let mut stream = Stream::open(&bench, "/v1/events");
        let mut head = [0; 12];
        stream.stream.read_exact(&mut head).unwrap();
        head == *b"HTTP/1.1 200"
    });
}

#[test]
fn listeners_get_open_jobs_and_events() {
    let bench = Bench::new();
    let (ended, open) = (bench.job(), bench.job());
    bench.set_state(ended, JobState::Done);
    let mut stream = Stream::open(&bench, "/v1/events");
    stream.wait("content-type: text/event-stream");
    stream.wait(&format!("event: job\ndata: {{\"id\":{open},"));
    until("it listens", || bench.service.has_listeners());
    bench.service.publish(Update::Pulse);
    stream.wait("event: pulse\ndata: {\"service\":{\"version\":\"0.1.0\"");
    bench.set_state(open, JobState::Running);
    stream.wait("event: job\ndata: {\"id\":2,");
    stream.wait("\"state\":\"running\"");
    bench.service.publish(Update::Removed(JobId(1)));
    stream.wait("event: removed\ndata: {\"id\":1}\n\n");
    bench.service.publish(Update::Said(Some(JobId(2)), "worker 0: died\nof \"x\"".into()));
    stream.wait("event: said\ndata: {\"job\":2,\"message\":\"worker 0: died\\nof \\\"x\\\"\"}\n\n");
    drop(stream);
    until("nobody listens", || !bench.service.has_listeners());
}

#[test]
fn slow_listeners_are_notified_and_start_again() {
    let bench = Bench::new();
    let id = bench.job();
    let mut streams: Vec<_> = (0..16).map(|_| Stream::open(&bench, "/v1/events")).collect();
    streams.iter_mut().for_each(|stream| stream.wait("event: job\n"));
    until("they listen", || bench.service.has_listeners());
    // They read nothing, so the sockets and the channel fill up eventually.
    let before = resident();
    let said: Arc<str> = "x".repeat(4_000).into();
    for _ in 0..20_000 {
        bench.service.publish(Update::Said(None, Arc::clone(&said)));
    }
    for mut stream in streams {
        stream.wait("event: lost\n");
        stream.wait(&format!("event: job\ndata: {{\"id\":{id},"));
        let grown = resident().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "1,280 MB of events were kept in {grown} bytes of memory");
    }
}

#[test]
fn stalled_readers_of_records_cost_a_few_pieces_each() {
    let bench = Bench::new();
    let id = bench.job();
    let lines = format!("{{\"id\":0,\"text\":\"{}\"}}\n", "x".repeat(1_000)).repeat(1_000);
    (0..100).for_each(|_| bench.record(id, &lines));
    let before = resident();
    let mut streams: Vec<_> =
        (0..16).map(|_| Stream::open(&bench, &format!("/v1/jobs/{id}/records"))).collect();
    streams.iter_mut().for_each(|stream| stream.wait("\r\n\r\n"));
    // Long enough to read all of it, sixteen times 100 MB, if it were not for the slow readers.
    let until = clock::now() + Duration::from_secs(2);
    while clock::now() < until {
        let grown = resident().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{grown} bytes of memory for sixteen slow readers");
        assert_eq!(bench.get("/healthz").status, 200);
    }
    let rest = streams.pop().unwrap().rest();
    assert_eq!(rest.matches("{\"id\":0,").count(), 100_000);
}

/// Maximum memory that the slow clients of a test may take together.
const GROWTH_MAX: u64 = 64 << 20;

/// Resident memory of this process.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn stopping_ends_endless_streams() {
    let mut bench = Bench::new();
    let id = bench.job();
    let mut events = Stream::open(&bench, "/v1/events");
    let mut records = Stream::open(&bench, &format!("/v1/jobs/{id}/records?follow=1"));
    events.wait("event: job\n");
    records.wait("\r\n\r\n");
    let began = clock::now();
    drop(bench.handle.take());
    assert!(clock::now() - began < GRACE, "streams were waited for");
    assert!(events.rest().ends_with("0\r\n\r\n"));
    // The job has more records to come, so the response must not end regularly.
    assert!(!records.rest().ends_with("0\r\n\r\n"));
    assert!(!bench.socket().exists());
}
