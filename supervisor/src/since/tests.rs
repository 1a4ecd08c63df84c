use std::fs;
use std::path::Path;

use shared::protocol::{OWN_IDS, Target};
use shared::record::FieldValue;
use shared::since::{Asked, Known, Note, Validators};

use super::earlier::{Opened, open};
use super::keeper::{Keeper, finish_earlier};
use super::recipe::Recipe;
use super::*;
use crate::kinds::Fact;

fn recipe(select: &str) -> Recipe {
    Recipe(vec![Fact::new("--select", select)])
}

fn note(url: &str, title: &str) -> Vec<u8> {
    let validators = Validators { etag: Some("\"x\"".to_owned()), ..Validators::default() };
    let fields = &[FieldValue::Text(title.to_owned())];
    let (validators, asked) = (&validators, &Asked::default());
    let (mark, charset, headers) = (None, None, None);
    Note { url, final_url: url, validators, asked, mark, charset, headers, fields }.encode().unwrap()
}

fn notes(pages: &[(&str, &str)]) -> PageNotes {
    let mut notes = PageNotes::default();
    pages.iter().for_each(|(url, title)| notes.push(&note(url, title)));
    notes
}

fn keep(output: &Path, resumes: bool) -> Keeper {
    Keeper::begin(output, &recipe("title"), resumes, None).unwrap()
}

/// Notes pages as a run does that comes to its end.
fn complete(output: &Path, pages: &[(&str, &str)]) {
    let mut keeper = keep(output, false);
    keeper.add(&notes(pages));
    keeper.close(true);
}

fn earlier(output: &Path) -> Earlier {
    match open(output, None, &recipe("title")).unwrap() {
        Opened::Usable(earlier) => earlier,
        Opened::Unusable(why) => panic!("{why}"),
    }
}

fn unusable(output: &Path, select: &str) -> String {
    match open(output, None, &recipe(select)).unwrap() {
        Opened::Usable(_) => panic!("usable"),
        Opened::Unusable(why) => why,
    }
}

/// Ids and titles of what is known of these inputs, which are numbered from 0.
fn known(earlier: &Earlier, inputs: &[&str]) -> Vec<(u64, String)> {
    let target =
        |(id, input): (u64, &&str)| Target { id, input: input.as_bytes().to_vec(), ..Target::default() };
    let targets: Vec<_> = (0..).zip(inputs).map(target).collect();
    let found = earlier.notes(&targets, &mut { usize::MAX }).into_iter().map(|found| {
        let FieldValue::Text(title) = Known::decode(&found.note).unwrap().fields.remove(0) else { panic!() };
        (found.id, title)
    });
    found.collect()
}

fn titles(found: &[(u64, &str)]) -> Vec<(u64, String)> {
    found.iter().map(|(id, title)| (*id, (*title).to_owned())).collect()
}

const A: &str = "http://a.example/";
const B: &str = "http://b.example/";
const C: &str = "http://c.example/";

#[test]
fn the_last_note_of_a_page_is_found_by_its_url() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let mut keeper = keep(&output, false);
    keeper.add(&notes(&[(A, "first"), (B, "b")]));
    keeper.commit();
    keeper.add(&notes(&[(A, "last")]));
    keeper.add(&PageNotes::default());
    keeper.close(true);
    let inputs = ["HTTP://A.example/#part", C, "no URL", B, "http://user:password@a.example/", A];
    let want = titles(&[(0, "last"), (3, "b"), (5, "last")]);
    // Complete, but not renamed: its run was killed in between.
    assert_eq!(known(&earlier(&output), &inputs), want);
    fs::rename(part_of(&output), notes_of(&output)).unwrap();
    let earlier = earlier(&output);
    assert_eq!(known(&earlier, &inputs), want);
    assert_eq!(earlier.fault(), None);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["out.validators"], "it is one file");
}

#[test]
fn a_robots_txt_is_not_looked_up() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    complete(&output, &[(A, "a")]);
    let mut target = Target { id: OWN_IDS, input: A.as_bytes().to_vec(), ..Target::default() };
    let earlier = earlier(&output);
    assert!(earlier.notes(&[target.clone()], &mut { usize::MAX }).is_empty());
    target.id = 0;
    let mut room = 2 * note(A, "a").len();
    assert_eq!(earlier.notes(&[target.clone(), target.clone(), target], &mut room).len(), 2, "no more fit");
    assert_eq!(room, 0);
}

#[test]
fn what_was_committed_before_a_kill_is_kept_by_a_resumed_run_only() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let mut keeper = keep(&output, false);
    keeper.add(&notes(&[(A, "a")]));
    keeper.commit();
    keeper.add(&notes(&[(B, "b")]));
    drop(keeper);
    assert!(unusable(&output, "title").contains("--resume completes it"));
    let mut keeper = keep(&output, true);
    keeper.add(&notes(&[(C, "c")]));
    keeper.close(true);
    assert_eq!(known(&earlier(&output), &[A, B, C]), titles(&[(0, "a"), (2, "c")]));
    // Once more, because it was killed before its journal was removed.
    keep(&output, true).close(true);
    assert_eq!(known(&earlier(&output), &[A, B, C]), titles(&[(0, "a"), (2, "c")]));
    keep(&output, false).close(true);
    assert_eq!(known(&earlier(&output), &[A, B, C]), []);
    let other = Keeper::begin(&output, &recipe("h1"), true, None).unwrap();
    other.close(true);
    assert!(unusable(&output, "title").ends_with("is of no use: --select was h1, and is title"));
}

#[test]
fn files_of_others_and_links_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    for path in [notes_of(&output), part_of(&output)] {
        fs::write(&path, "a diary, for example").unwrap();
        let error = Keeper::begin(&output, &recipe("title"), false, None).unwrap_err().to_string();
        assert!(error.contains("was not written by this program"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a diary, for example");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(
            Keeper::begin(&output, &recipe("title"), true, None),
            Err(SinceError::Foreign { .. })
        ));
        fs::remove_file(&path).unwrap();
    }
    fs::write(notes_of(&output), "a diary, for example").unwrap();
    assert!(matches!(open(&output, None, &recipe("title")), Err(SinceError::Foreign { .. })));
    fs::write(part_of(&output), "").unwrap();
    fs::remove_file(notes_of(&output)).unwrap();
    keep(&output, false).close(true);
    assert_eq!(known(&earlier(&output), &[A]), []);
}

#[test]
fn what_no_worker_got_is_passed_on_unless_it_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    complete(&before, &[(A, "a"), (B, "b")]);
    let mut keeper =
        Keeper::begin(&after, &recipe("title"), false, Some(Arc::new(earlier(&before)))).unwrap();
    let mut notes = PageNotes::default();
    notes.push(&note(B, "new"));
    for input in [A, B, C, "no URL", ""] {
        notes.pass_on(input.as_bytes());
    }
    assert!(!notes.is_empty());
    keeper.add(&notes);
    keeper.close(true);
    assert_eq!(known(&earlier(&after), &[A, B, C]), titles(&[(0, "a"), (1, "new")]));
}

#[test]
fn a_run_that_is_compared_with_itself_goes_on_with_its_own_complete_notes() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    complete(&output, &[(A, "before")]);
    finish_earlier(&output).unwrap();
    complete(&output, &[(A, "a")]);
    // It could not finish its output, and is resumed. The path may be written in another way.
    for own in [output.clone(), dir.path().join("./out")] {
        let Opened::Usable(earlier) = open(&output, Some(&own), &recipe("title")).unwrap() else { panic!() };
        assert_eq!(known(&earlier, &[A]), titles(&[(0, "before")]));
        keep(&output, true).close(true);
    }
    assert_eq!(known(&earlier(&output), &[A]), titles(&[(0, "a")]));
}

#[test]
fn complete_notes_are_named_before_a_new_run_begins() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    finish_earlier(&output).unwrap();
    complete(&output, &[(A, "a")]);
    finish_earlier(&output).unwrap();
    assert!(notes_of(&output).exists() && !part_of(&output).exists());
    let mut keeper = keep(&output, false);
    keeper.add(&notes(&[(A, "half")]));
    keeper.close(false);
    // What is not complete is left where it is.
    finish_earlier(&output).unwrap();
    assert_eq!(known(&earlier(&output), &[A]), titles(&[(0, "a")]));
    keep(&output, false).close(true);
    fs::write(notes_of(&output), "a diary, for example").unwrap();
    assert!(matches!(finish_earlier(&output), Err(SinceError::Foreign { .. })));
    assert!(part_of(&output).exists());
}

#[test]
fn a_damaged_part_is_replaced_and_a_locked_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    complete(&output, &[(A, "a")]);
    let whole = fs::read(part_of(&output)).unwrap();
    for resumes in [false, true] {
        for damaged in [[&whole[..4096], &vec![0xff; whole.len() - 4096]].concat(), whole[..4096].to_vec()] {
            fs::write(part_of(&output), damaged).unwrap();
            let mut keeper = keep(&output, resumes);
            keeper.add(&notes(&[(B, "b")]));
            keeper.close(true);
            assert_eq!(known(&earlier(&output), &[A, B]), titles(&[(1, "b")]));
        }
    }
    let running = keep(&output, false);
    let error = Keeper::begin(&output, &recipe("title"), false, None).unwrap_err().to_string();
    assert!(error.contains("cannot be read (database is locked"), "{error}");
    running.close(true);
    assert!(part_of(&output).exists());
}
