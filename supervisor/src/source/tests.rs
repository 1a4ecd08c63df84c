//! Inputs of all kinds, read as the runtime reads them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::*;

fn literal(text: &str) -> Input {
    Input::Literal(text.as_bytes().to_vec())
}

fn write(root: &Path, name: &str, text: &str) -> PathBuf {
    let path = root.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn drain(source: &mut Source, max: usize) -> Vec<SourceItem> {
    let mut items = Vec::new();
    loop {
        let before = items.len();
        let more = source.next_batch(&mut items, max).unwrap();
        assert!(items.len() - before <= max);
        if !more {
            return items;
        }
        assert!(items.len() > before, "a batch that is not the last one is not empty");
    }
}

#[test]
fn ids_are_positions_over_all_inputs_in_order() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let inputs = [
        literal("http://zero/"),
        Input::Lines(write(root, "a.txt", "# none\nhttp://one/\n\nnot a url\n")),
        Input::CsvColumn(write(root, "b.csv", "url\nhttp://three/\n\"\"\n"), "url".into()),
        Input::JsonColumn(write(root, "c.jsonl", "{\"u\":\"http://five/\"}\n{}\n"), "u".into()),
        literal("http://seven/"),
    ];
    let want = [
        ("http://zero/", Some("zero"), false),
        ("http://one/", Some("one"), false),
        ("not a url", None, false),
        ("http://three/", Some("three"), false),
        ("", None, true),
        ("http://five/", Some("five"), false),
        ("{}", None, true),
        ("http://seven/", Some("seven"), false),
    ];
    for max in [1, 2, 3, 100] {
        let mut source = Source::new(&inputs, TargetKind::Url);
        let items = drain(&mut source, max);
        assert_eq!(items.len(), want.len());
        for (id, (item, (input, host, refused))) in items.iter().zip(want).enumerate() {
            assert_eq!(item.id, id as u64);
            assert_eq!(String::from_utf8_lossy(&item.input), input);
            assert_eq!(item.host.as_ref().map(|host| &*host.name), host, "{input}");
            assert_eq!(item.refused.is_some(), refused, "{input}");
        }
        let position = source.position();
        assert_eq!((position.items, position.items_total), (8, Some(8)));
        assert_eq!(Some(position.bytes_read), position.bytes_total);
    }
}

#[test]
fn progress_counts_what_was_given_not_what_was_buffered() {
    let root = tempfile::tempdir().unwrap();
    let path = write(root.path(), "a.txt", "http://a/\nhttp://b/\n");
    let mut source = Source::new(&[Input::Lines(path)], TargetKind::Url);
    let begin = Progress { items: 0, items_total: None, bytes_read: 0, bytes_total: Some(20) };
    assert_eq!(source.position(), begin);
    assert!(source.next_batch(&mut Vec::new(), 1).unwrap());
    assert_eq!(source.position(), Progress { items: 1, bytes_read: 10, ..begin });
}

#[test]
fn a_total_is_known_only_when_every_part_is() {
    let root = tempfile::tempdir().unwrap();
    let file = write(root.path(), "a.txt", "http://a/\n");
    let check = |inputs: &[Input], bytes, items| {
        let position = Source::new(inputs, TargetKind::Url).position();
        assert_eq!((position.bytes_total, position.items_total), (bytes, items), "{inputs:?}");
    };
    check(&[literal("ab"), literal("c")], Some(3), Some(2));
    check(&[literal("ab"), Input::Lines(file.clone())], Some(12), None);
    check(&[Input::Lines(file), Input::StdinLines], None, None);
    check(&[Input::Tree(root.path().into())], None, None);
}

#[test]
fn a_path_has_no_host() {
    let mut source =
        Source::new(&[literal("http://a/"), Input::Tree("missing.html".into())], TargetKind::Path);
    let items = drain(&mut source, 10);
    assert_eq!(items.iter().map(|item| item.host.clone()).collect::<Vec<_>>(), [None, None]);
    assert_eq!(items[1].input, b"missing.html");
}

#[test]
fn what_has_arrived_is_not_held_back() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Opened for reading as well, so that opening does not block.
    let mut pipe = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    pipe.write_all(b"http://a/\nhttp://b/\nhttp://c").unwrap();
    let mut source = Source::new(&[literal("http://first/"), Input::Lines(path)], TargetKind::Url);
    let mut items = Vec::new();
    assert!(source.next_batch(&mut items, 100).unwrap());
    assert_eq!(items.len(), 1, "the pipe might have been empty");
    assert!(source.next_batch(&mut items, 100).unwrap());
    assert_eq!(items.len(), 3, "two whole lines have arrived");
    assert_eq!(source.position().bytes_total, None);
}

#[test]
fn a_missing_file_is_said_by_name() {
    let mut source = Source::new(&[Input::Lines("/nonexistent/urls.txt".into())], TargetKind::Url);
    let error = source.next_batch(&mut Vec::new(), 1).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/urls.txt") && error.contains("No such file"), "{error}");
}

#[test]
fn a_read_that_fails_says_where() {
    // A directory can be opened like a file, but not read.
    let root = tempfile::tempdir().unwrap();
    let mut source = Source::new(&[Input::Lines(root.path().into())], TargetKind::Url);
    let error = source.next_batch(&mut Vec::new(), 1).unwrap_err().to_string();
    assert!(error.contains("at line 1"), "{error}");
}

#[test]
fn a_list_that_leads_out_of_where_a_job_may_read_is_not_opened() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let link = inside.path().join("list.txt");
    std::fs::write(outside.path().join("list.txt"), "http://a/\n").unwrap();
    std::os::unix::fs::symlink(outside.path().join("list.txt"), &link).unwrap();
    let real = |dir: &tempfile::TempDir| std::fs::canonicalize(dir.path()).unwrap();
    for (within, is_read) in [(vec![real(&inside)], false), (vec![real(&inside), real(&outside)], true)] {
        let source = Source::new(&[Input::Lines(link.clone())], TargetKind::Url);
        let mut source = Source { within: Some(within.into()), ..source };
        let read = source.next_batch(&mut Vec::new(), 9).map_err(|error| error.to_string());
        assert_eq!(read.is_ok(), is_read, "{read:?}");
        assert!(read.err().is_none_or(|why| why.contains("--allow-path")));
    }
}
