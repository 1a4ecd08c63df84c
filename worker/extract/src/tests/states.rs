//! Pseudo-classes for the state of an element.

use serde_json::{Value, json};

use super::*;

/// The ids of the elements that a selector matches.
fn check(page: &str, selector: &str, ids: &[&str]) {
    let found = extract(&[&format!("i[]={selector}::attr(id)")], page.as_bytes()).0;
    let expected = serde_json::to_string(&[ids]).unwrap();
    assert_eq!(found, expected, "{selector} on {page}");
}

fn check_all(page: &str, cases: &[(&str, &[&str])]) {
    for (selector, ids) in cases {
        check(page, selector, ids);
        // The same in every position of a selector.
        check(page, &format!(":is({selector})"), ids);
        check(page, &format!(":where(:is(nothing, {selector}))"), ids);
        check(page, &format!(":not(:not({selector}))"), ids);
    }
}

#[test]
fn link_pseudo_classes_match_and_those_of_a_user_do_not() {
    let page = "<!doctype html><a id=a href=x></a><a id=b></a><area id=c href=x><link id=d href=x>\
        <svg><a id=e href=x></a><a id=f xlink:href=x></a><a id=g></a></svg><p id=h>";
    check_all(
        page,
        &[
            (":link", &["a", "c", "e", "f"]),
            (":any-link", &["a", "c", "e", "f"]),
            ("a:LINK", &["a", "e", "f"]),
            ("a:not(:link)", &["b", "g"]),
            ("a:is(:link)", &["a", "e", "f"]),
            ("a:is(:not(:hover)):not(:link)", &["b", "g"]),
            ("p:not(:hover, :target):not(:is(:focus))", &["h"]),
            ("body:has(> a:any-link) > p", &["h"]),
            ("body:has(a:visited) > p", &[]),
        ],
    );
    for never in [
        "hover",
        "active",
        "focus",
        "focus-within",
        "focus-visible",
        "visited",
        "target",
        "target-within",
        "current",
        "past",
        "future",
        "fullscreen",
        "modal",
        "popover-open",
        "autofill",
        "user-invalid",
        "user-valid",
        "playing",
        "local-link",
        "state(x)",
        "current(a, b)",
        "host",
        "HOVER",
    ] {
        check(page, &format!("a:{never}"), &[]);
        check(page, &format!("p:not(:{never})"), &["h"]);
    }
}

#[test]
fn nth_child_of_counts_matching_children() {
    let page =
        "<!doctype html><ul><li id=a><li id=b class=x><li id=c><li id=d class=x><li id=e class=x></ul>";
    check_all(
        page,
        &[
            ("li:nth-child(1 of .x)", &["b"]),
            ("li:nth-child(2n+1 of *)", &["a", "c", "e"]),
            ("li:nth-child(odd of .x)", &["b", "e"]),
            ("li:nth-last-child(-n+2 of .x)", &["d", "e"]),
            ("li:nth-child(2 of :not(.x), .nope)", &["c"]),
            ("li:nth-last-child(1 of :is(#a, #c))", &["c"]),
            ("li:nth-child(even)", &["b", "d"]),
            ("li:nth-of-type(5)", &["e"]),
        ],
    );
}

#[test]
fn controls_have_their_initial_state() {
    let page = "<!doctype html><form id=f><input id=a type=checkbox checked><input id=b type=checkbox>\
        <input id=c type=radio name=r checked><input id=d type=RADIO name=r checked><input id=e type=radio name=s>\
        <select id=g><option id=h disabled><option id=i><option id=j></select>\
        <select id=k><option id=l selected><option id=m selected></select>\
        <select id=n multiple><option id=o selected><option id=p></select>\
        <button id=q type=button></button><button id=r></button><input id=s type=submit><progress id=t></progress>\
        <progress id=u value=1></progress></form>";
    check_all(
        page,
        &[
            (":checked", &["a", "d", "i", "m", "o"]),
            ("option:checked", &["i", "m", "o"]),
            ("input:not(:checked)", &["b", "c", "e", "s"]),
            (":default", &["a", "c", "d", "l", "m", "o", "r"]),
            (":indeterminate", &["e", "t"]),
        ],
    );
    let page = "<!doctype html><form id=f><button id=a></button></form><button id=b form=f></button><button id=c></button>\
        <button id=d form=none></button><form id=g></form><input type=image id=e form=g><input type=radio name=r id=h form=f checked>\
        <form><input type=radio name=r id=i></form><input type=radio name=r id=j>";
    check_all(page, &[(":default", &["a", "e", "h"]), (":checked", &["h"]), (":indeterminate", &["i", "j"])]);
    let page = "<!doctype html><fieldset id=a disabled><legend><input id=b></legend><legend><input id=c></legend>\
        <button id=d></button><fieldset id=e></fieldset></fieldset><input id=f disabled><textarea id=g></textarea>\
        <select id=h><optgroup id=i disabled><option id=j></optgroup><option id=k disabled><option id=l></select>\
        <a id=m disabled></a><object id=n></object><select id=o disabled><optgroup id=p><option id=q></optgroup><option id=r></select>";
    check_all(
        page,
        &[
            (":disabled", &["a", "c", "d", "e", "f", "i", "j", "k", "o", "p", "q", "r"]),
            (":disabled:checked", &["q"]),
            (":enabled", &["b", "g", "h", "l"]),
            ("input:enabled", &["b"]),
        ],
    );
    let page = "<!doctype html><input id=a required><input id=b><input id=c type=submit required><select id=d required></select>\
        <textarea id=e></textarea><input id=f type=hidden><input id=g type=checkbox required><p id=h required>";
    check_all(page, &[(":required", &["a", "d", "g"]), (":optional", &["b", "e"])]);
    let page = "<!doctype html><input id=a><input id=b readonly><input id=c type=checkbox><textarea id=d disabled></textarea>\
        <textarea id=e></textarea><div id=f contenteditable><b id=g></b><i id=h contenteditable=false></i></div><p id=i><svg id=j></svg>";
    check_all(
        page,
        &[(":read-write", &["a", "e", "f", "g"]), ("body :read-only", &["b", "c", "d", "h", "i"])],
    );
}

#[test]
fn values_of_controls_are_validated() {
    let page = "<!doctype html><input id=a type=number min=1 max=5 value=3><input id=b type=number min=1 value=0>\
        <input id=c type=number value=3><input id=d type=number min=1 value=x><input id=e type=range value=200>\
        <input id=f type=date min=2020-02-01 value=2020-01-31><input id=g type=date max=2020-02-30 value=2021-01-01>\
        <input id=h type=time min=22:00 max=06:00 value=23:30><input id=i type=time min=22:00 max=06:00 value=12:00:00.5>\
        <input id=j type=month max=2020-05 value=2020-06><input id=k type=week min=2020-W10 value=2020-W09>\
        <input id=l type=datetime-local min=2020-01-01T10:00 value='2020-01-01 09:59'><input id=m type=number min=1 value=0 readonly>\
        <input id=n type=text min=1 value=0><input id=o type=range max=5 readonly>";
    check_all(
        page,
        &[(":in-range", &["a", "d", "e", "h"]), (":out-of-range", &["b", "f", "i", "j", "k", "l"])],
    );
    let page = "<!doctype html><form id=a><input id=b required></form><form id=c><input id=d required value=x></form>\
        <input id=e type=email value=a@b.example><input id=f type=email value=a@><input id=g type=url value=x>\
        <input id=h pattern=[0-9]+ value=12><input id=i pattern=[0-9]+ value=12a><input id=j required disabled>\
        <select id=k required><option value=''></select><select id=l required><option>x</select>\
        <textarea id=m required></textarea><input id=n type=checkbox required>";
    check_all(
        page,
        &[(":valid", &["c", "d", "e", "h", "l"]), (":invalid", &["a", "b", "f", "g", "i", "k", "m", "n"])],
    );
    let page = "<!doctype html><input id=a placeholder=x><input id=b placeholder=x value=y><textarea id=c placeholder=x></textarea>\
        <textarea id=d placeholder=x>y</textarea><input id=e><input id=f type=checkbox placeholder=x><input id=g placeholder=x value='\n'><input id=h placeholder=''>\
        <input id=i type=number placeholder=x value=y><input id=j type=number placeholder=x value=1>";
    check_all(page, &[(":placeholder-shown", &["a", "c", "g", "i"]), (":blank", &["a", "c", "e", "g", "h"])]);
}

#[test]
fn language_direction_and_the_rest() {
    let page = "<!doctype html><html lang=en-GB><p id=a><p id=b lang=de-Latn-DE-1996><p id=c lang=''><b id=d></b>\
        <p id=e lang=zh-Hant><svg><g id=f xml:lang=fr /></svg>";
    check_all(
        page,
        &[
            ("[id]:lang(en)", &["a"]),
            ("[id]:lang(EN-gb)", &["a"]),
            ("[id]:lang(en-US)", &[]),
            ("[id]:lang(de-DE)", &["b"]),
            ("[id]:lang('*-DE', fr)", &["b", "f"]),
            ("[id]:lang('')", &["c", "d"]),
            ("[id]:lang(zh)", &["e"]),
            ("p:not(:lang(en, zh))", &["b", "c"]),
        ],
    );
    check("<meta http-equiv=content-language content=cs><p id=a>", "p:lang(cs)", &["a"]);
    let page = "<!doctype html><p id=a><p id=b dir=rtl><b id=c></b><p id=d dir=AUTO>1 \u{5d0} x<p id=e dir=auto><i dir=ltr>x</i>\u{627}\
        <bdi id=f>\u{5d0}</bdi><input id=g dir=auto value=\u{5d0}><div dir=rtl><input id=h type=tel><u id=i dir=bad></u></div>";
    check_all(page, &[("[id]:dir(rtl)", &["b", "c", "d", "e", "f", "g", "i"]), ("p:dir(ltr)", &["a"])]);
    let page = "<!doctype html><details id=a open></details><details id=b></details><x-y id=c></x-y><h2 id=d></h2><h4 id=e></h4>\
        <video id=f muted></video><p id=g></p>";
    check_all(
        page,
        &[
            (":open", &["a"]),
            ("[id]:defined", &["a", "b", "d", "e", "f", "g"]),
            (":heading", &["d", "e"]),
            (":heading(1, 4)", &["e"]),
            (":muted", &["f"]),
            ("[id]:empty:not(:heading)", &["a", "b", "c", "f", "g"]),
        ],
    );
}

#[test]
fn text_below_an_element_is_not_its_own() {
    let page = "<div>a<p>b<i>c</i></p><p>d</p></div>";
    for (select, expected) in [
        ("t[]=div::text", json!(["abcd"])),
        ("t[]=div ::text", json!(["bc", "c", "d"])),
        ("t[]=div *::text", json!(["bc", "c", "d"])),
        ("t[]=div > ::text", json!(["bc", "d"])),
        ("t[]=div > p ::text", json!(["c"])),
        ("t=div ::html", json!("<p>b<i>c</i></p>")),
    ] {
        let found: Value = serde_json::from_str(&extract(&[select], page.as_bytes()).0).unwrap();
        assert_eq!(found, json!([expected]), "{select}");
    }
}

#[test]
fn states_of_many_elements_take_time_in_proportion_to_their_number() {
    const COUNT: usize = 40_000;
    let quick = Page { parse_timeout: Duration::from_secs(10), ..page(None) };
    for (start, each, selector, count) in [
        ("", "<p>", "p:not(:lang(en))", COUNT),
        ("<div dir=auto>", "<i>1</i>", "i:dir(ltr)", COUNT),
        ("<form>", "<input type=radio name=a checked>", ":checked", 1),
        ("<form>", "<input type=radio name=a required>", "input:invalid:indeterminate", COUNT),
        ("<form>", "<input type=radio name=a required>", "form:invalid", 1),
        ("<select>", "<option>", "option:checked", 1),
        ("<form id=a>", "<button form=a></button>", "button:default", 1),
        ("", "<button form=a></button>", "button:not(:default)", COUNT),
    ] {
        let text = format!("<!doctype html><body>{start}{}", each.repeat(COUNT));
        let extractor = extractor(&[&format!("t[]={selector}::text")]);
        let extracted = extractor.extract(quick, &mut Cursor::new(text.as_bytes())).unwrap();
        let [FieldValue::List(found)] = extracted.values.as_slice() else { panic!("no list") };
        assert_eq!(found.len(), count, "{selector}");
    }
}

#[test]
fn a_form_is_named_by_the_first_element_with_its_id() {
    let page = "<!doctype html><p id=f></p><form id=f><button id=a></button></form><form id=g><button id=b form=f></button>\
        <button id=c></button></form><button id=d form=g></button>";
    check(page, ":default", &["a", "c"]);
}
