//! `csv` over numbers that no double holds, and over ties: by the real processes, in ranges and in one.

use crate::harness::{Dir, supervisor};

const ROWS: u64 = 60_000;

/// Over a MiB, so that it is read in ranges: ids of 19 and 25 digits, 19 decimals, and few different scores.
fn table() -> String {
    let mut text = String::from("id,key,share,score\n");
    for row in 0..ROWS {
        let id = 1_712_345_678_901_234_567 + row;
        let key =
            ["99999999999999999999", "100000000000000000000", "-99999999999999999999"][(row % 3) as usize];
        // Three of five are the same.
        let score = if row % 5 < 3 { 7 } else { row % 11 };
        text.push_str(&format!("{id},{key},0.{:019},{score}\n", row + 1));
    }
    text
}

#[test]
fn long_numbers_are_compared_and_summed_with_all_their_digits() {
    let dir = Dir::new();
    let file = dir.write("long.csv", table());
    let run = |workers: &str, arguments: &[&str]| {
        supervisor().args(["--workers", workers, "csv"]).arg(&file).args(arguments).run().exits(0).text()
    };
    let ids: u128 = (0..u128::from(ROWS)).map(|row| 1_712_345_678_901_234_567 + row).sum();
    for workers in ["1", "2"] {
        let check =
            |arguments: &[&str], want: &str| assert_eq!(run(workers, arguments), want, "{arguments:?}");
        check(&["--where", "id = 1712345678901234567", "--agg", "n=count"], "n\n1\n");
        check(&["--where", "id <= 1712345678901234569", "--agg", "n=count"], "n\n3\n");
        check(&["--where", "share < 0.0000000000000000004", "--agg", "n=count"], "n\n3\n");
        check(
            &["--agg", "lo=min(id)", "--agg", "hi=max(id)", "--agg", "least=min(share)"],
            "lo,hi,least\n1712345678901234567,1712345678901294566,0.0000000000000000001\n",
        );
        check(
            &["--agg", "ids=sum(id)", "--agg", "shares=sum(share)", "--agg", "keys=sum(key)"],
            &format!("ids,shares,keys\n{ids},0.000000000180003,2000000000000000000000000\n"),
        );
        check(
            &["--group-by", "key", "--agg", "n=count"],
            "key,n\n-99999999999999999999,20000\n99999999999999999999,20000\n100000000000000000000,20000\n",
        );
        check(&["--agg", "p=quantile(score, 0.5)", "--agg", "q=quantile(score, 0.91)"], "p,q\n7,8\n");
    }
}

#[test]
fn sums_are_rounded_once_and_means_too() {
    let dir = Dir::new();
    let check = |cells: &[&str], want: &str| {
        let file = dir.write("few.csv", format!("x\n{}\n", cells.join("\n")));
        let flags = ["--agg", "s=sum(x)", "--agg", "m=mean(x)", "--agg", "lo=min(x)"];
        let run = supervisor().args(["--workers", "1", "csv"]).arg(file).args(flags).run().exits(0);
        assert_eq!(run.text(), format!("s,m,lo\n{want}\n"), "{cells:?}");
    };
    check(&["999999999999999999", "-1000000000000000000"], "-1,-0.5,-1000000000000000000");
    check(&["0.0915847874050735959"], "0.0915847874050735959,0.0915847874050736,0.0915847874050735959");
    check(&["0.09158478740507359"], "0.09158478740507359,0.09158478740507359,0.09158478740507359");
    check(&["9007199254740993", "9007199254740993"], "18014398509481986,9007199254740992,9007199254740993");
    check(&["7.50", "+8", "1e1"], "25.5,8.5,7.50");
}
