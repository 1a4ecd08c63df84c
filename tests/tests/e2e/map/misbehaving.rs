//! Programs that die, hang, babble, or keep their answers back: who is blamed, and what it costs.

use super::*;

/// What stands in its buffer comes when its input ends; no line is blamed for that.
#[test]
fn a_program_that_keeps_its_answers_back_is_made_to_give_them() {
    let dir = Dir::new();
    let body = "sys.stdout.write(line)";
    let flags = ["--timeout", "5s", "--retries", "0", "--ordered"];
    let run = run_python(&dir, body, &numbers(300), &flags).exits(0);
    check_echo(&run, 300, &[]);
}

/// The input has not ended, so that nobody says that nothing follows.
#[test]
fn answers_do_not_wait_for_lines_that_may_never_come() {
    let dir = Dir::new();
    let script = python(&dir, "program.py", "sys.stdout.write(line)");
    let fifo = dir.path("lines.jsonl");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = map().arg("-i").arg(&fifo).args(["--", interpreter()]).arg(script).spawn();
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    for round in 1..=3 {
        std::io::Write::write_all(&mut writer, b"{\"n\":1}\n").unwrap();
        run.wait_for_lines(round);
    }
    drop(writer);
    run.wait().exits(0);
}

#[test]
fn a_line_that_kills_its_program_is_tried_again_and_set_aside() {
    let dir = Dir::new();
    let body = "if record['n'] == 77:\n    sys.stderr.write('bad line\\n')\n    os.kill(os.getpid(), signal.SIGSEGV)\nsay(record)";
    let s = dir.path("s.json");
    let flags = ["--ordered", "--summary", s.to_str().unwrap()];
    let run = run_python(&dir, body, &numbers(200), &flags).exits(3).says("bad line");
    let error = &check_echo(&run, 200, &[77])[&77];
    assert_eq!(error["attempts"], 3, "{error}");
    assert_eq!(error["error"]["message"], "was ended by SIGSEGV before it answered");
    let evidence = &error["error"]["evidence"];
    assert_eq!((&evidence["signal"], &evidence["phase"]), (&json!("SIGSEGV"), &json!("map")), "{error}");
    assert!(evidence["stderr"].as_str().unwrap().ends_with("bad line\n"), "{error}");
    let summary = summary(&dir);
    let counts = ["ok", "failed", "quarantined", "retries", "restarts"].map(|key| &summary[key]);
    assert_eq!(counts, [199, 1, 1, 2, 0], "{summary}");
    assert_eq!(summary["errors"], json!({"child": 1}));
}

/// Answers of other lines were in its buffer when it died. They are not to blame.
#[test]
fn the_right_line_is_blamed_even_if_answers_were_kept_back() {
    let dir = Dir::new();
    let body =
        "if record['n'] in (40, 41, 90):\n    os.kill(os.getpid(), signal.SIGKILL)\nsys.stdout.write(line)";
    let run = run_python(&dir, body, &numbers(120), &["--retries", "1"]).exits(3);
    let records = check_echo(&run, 120, &[40, 41, 90]);
    assert_eq!(records[&90]["attempts"], 2);
}

#[test]
fn many_lines_that_kill_cost_only_themselves() {
    let dir = Dir::new();
    let bad: Vec<u64> = (0..60).chain([99]).collect();
    let body = "if record['n'] < 60 or record['n'] == 99:\n    sys.exit(3)\nsay(record)";
    // An answer comes first: nobody can tell a program that never answers from one that is broken.
    let lines = format!("{{\"n\":200}}\n{}", numbers(120));
    let script = python(&dir, "program.py", body);
    let run = supervisor().args(["--workers", "1", "map", "--retries", "0", "-i", "-", "--", interpreter()]);
    let run = run.arg(script).stdin(lines).run().exits(3);
    let records = by_id(run.records());
    assert_eq!(records.len(), 121);
    for (id, record) in records {
        let is_bad = id > 0 && bad.contains(&(id - 1));
        assert_eq!(record.get("error").is_some(), is_bad, "{record}\n{run}");
    }
}

#[test]
fn a_line_on_which_it_hangs_is_given_its_time_and_set_aside() {
    let dir = Dir::new();
    let body = "while record['n'] == 5:\n    time.sleep(60)\nsay(record)";
    let flags = ["--timeout", "1s", "--retries", "1"];
    let run = run_python(&dir, body, &numbers(40), &flags).exits(3);
    let error = &check_echo(&run, 40, &[5])[&5];
    assert_eq!(
        (&error["attempts"], &error["error"]["message"]),
        (&json!(2), &json!("gave no answer within 1 s and was killed"))
    );
}

#[test]
fn a_program_that_never_reads_is_found_out() {
    let run = map().args(["--timeout", "200ms", "--retries", "0", "-i", "-", "--", "sleep", "60"]);
    let run = run.stdin(numbers(3)).run().exits(3);
    check_echo(&run, 3, &[0, 1, 2]);
}

#[test]
fn rubbish_costs_its_line_and_no_other() {
    let dir = Dir::new();
    let body = "if record['n'] % 10 == 3:\n    print('what?', flush=True)\nelse:\n    say(record)";
    let run = run_python(&dir, body, &numbers(50), &[]).exits(3);
    let records = check_echo(&run, 50, &[3, 13, 23, 33, 43]);
    let message = records[&3]["error"]["message"].as_str().unwrap();
    assert!(message.contains("not JSON") && message.ends_with(": what?"), "{message}");
    assert!(records[&3]["error"].get("evidence").is_none() && records[&3]["attempts"] == 1, "{records:?}");
}

/// A greeting moves every answer to the wrong line. That must not go unseen.
#[test]
fn a_program_that_greets_is_caught_before_its_answers_are_mixed_up() {
    let dir = Dir::new();
    let script = dir.write(
        "greets.py",
        "import sys\nprint('Loading the model')\nfor line in sys.stdin:\n    sys.stdout.write(line)\n    sys.stdout.flush()\n",
    );
    let run = map().args(["-i", "-", "--", interpreter()]).arg(script).stdin(numbers(5)).run().exits(3);
    check_echo(&run, 5, &[0, 1, 2, 3, 4]);
}

#[test]
fn one_that_says_more_than_it_was_asked_is_ended_and_said_so() {
    let shell = |script: &'static str| ["sh", "-c", script];
    for (lines, program) in [
        (1, shell("while read l; do echo $l; echo $l; done")),
        (20, shell("sed p")),
        (20, shell("cat; echo 7")),
        (20, shell("echo 7; cat")),
        (20, shell("cat; echo")),
        (20, shell("cat; printf 7")),
        // By the time it ends, nothing else is left to do.
        (20, shell("cat; sleep 0.1; printf 7")),
    ] {
        for raw in [&[][..], &["--raw"]] {
            let run = map().args(raw).args(["-i", "-", "--"]).args(program).stdin(numbers(lines)).run();
            let run = run.exits(1).says("more lines than it read").says("--batch 1").says("--overwrite");
            assert!(!run.stderr.contains("--resume"), "{run}");
        }
    }
    // In batches nothing is taken for an answer before the batch is whole.
    let dir = Dir::new();
    let script = dir.write(
        "fives.py",
        "import sys, itertools\nwhile batch := list(itertools.islice(sys.stdin, 5)):\n    answers = ''.join(line * (1 + ('6' in line)) for line in batch)\n    sys.stdout.write(answers)\n    sys.stdout.flush()\n",
    );
    let run = map()
        .args(["--batch", "5", "-i", "-", "--", interpreter()])
        .arg(script)
        .stdin(numbers(10))
        .run()
        .exits(3);
    let records = check_echo(&run, 10, &[6]);
    assert!(records[&6]["error"]["message"].as_str().unwrap().contains("more than one"), "{run}");
}

#[test]
fn one_that_leaves_lines_out_is_said_so() {
    let dir = Dir::new();
    let body = "if record['n'] != 4:\n    say(record)";
    let run = run_python(&dir, body, &numbers(20), &["--batch", "1", "--retries", "0", "--timeout", "1s"]);
    check_echo(&run.exits(3), 20, &[4]);
    let body = "if record['n'] % 2 == 0:\n    say(record)";
    run_python(&dir, body, &numbers(20), &["--retries", "0", "--timeout", "1s"])
        .exits(3)
        .says("one line for each it reads");
}

#[test]
fn one_that_ends_early_is_started_again() {
    let dir = Dir::new();
    let body = "say(record)\nif count == 7:\n    sys.exit(0)";
    let run = run_python(&dir, body, &numbers(100), &["--retries", "0"]).exits(0);
    check_echo(&run, 100, &[]);
}

#[test]
fn a_program_that_is_not_there_is_refused_before_anything_starts() {
    let dir = Dir::new();
    let plain = dir.write("plain.sh", "#!/bin/sh\ncat\n");
    let refused = |program: &str, says: &str| {
        let run = map().args(["-i", "-", "-o"]).arg(dir.path("out")).args(["--", program]).stdin("1\n").run();
        run.exits(2).says(says);
        assert!(!dir.path("out").exists());
    };
    refused("pyhton3", "did you mean python3");
    refused("/no/such/thing", "No such file");
    refused(plain.to_str().unwrap(), "Permission denied");
    refused(dir.root().to_str().unwrap(), "directory");
    map().args(["-i", "-"]).stdin("1\n").run().exits(2).says("no program");
    let archive = supervisor().args(["fetch", "http://127.0.0.1:1/", "--map", "cat", "-o"]);
    archive.arg(dir.path("site.warc")).run().exits(2).says("--map cannot add");
    map().args(["--", "cat"]).run().exits(2).says("nothing to map");
    map().args(["-i", "-", "--sandbox", "require", "--", "cat"]).stdin("1").run().exits(2).says("sandbox");
    // It looks as if it could be started, and cannot.
    let broken = dir.write("broken", "#!/no/such/interpreter\n");
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = map().args(["-i", "-", "--"]).arg(broken).stdin("1\n").run();
    run.exits(1).says("cannot start").says("broken");
}

#[test]
fn a_program_that_always_dies_ends_the_run() {
    let dir = Dir::new();
    dir.write("lines.jsonl", numbers(5000));
    let script = dir.write("dies.py", "import sys\nsys.exit('no licence')\n");
    let run =
        map().current_dir(dir.root()).args(["-i", "lines.jsonl", "-o", "out.jsonl", "--", interpreter()]);
    let run = run.arg(script).run().exits(1).says("whatever it is given").says("no licence").says("--resume");
    assert!(parse_lines(dir.read("out.jsonl").as_bytes()).len() < 100, "{run}");
}
