//! Single bits of the database's file; `ROOTSTRATA_FLIPS` is the number of them.

use super::Kept;

#[test]
fn no_bit_of_the_database_leads_to_anything_wrong() {
    let kept = Kept::new();
    let length = kept
        .bench
        .store()
        .join("rootstrata.sqlite")
        .metadata()
        .unwrap()
        .len() as usize;
    let (mut noticed, mut harmless) = (0, 0);
    let steps = std::env::var("ROOTSTRATA_FLIPS").map_or(60, |number| number.parse().unwrap());
    for step in 0..steps {
        let store = kept.copy();
        let database = store.join("rootstrata.sqlite");
        let mut bytes = std::fs::read(&database).unwrap();
        // Places and bits that have nothing in common with pages.
        let at = (step * 7919 + step * step * 31) % length;
        bytes[at] ^= 1 << (step % 8);
        std::fs::write(&database, bytes).unwrap();
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| kept.said_of(&store)));
        match said {
            Ok(said) => {
                noticed += usize::from(said.stderr.contains(database.to_str().unwrap()));
                harmless += usize::from(said.is_harmless());
            }
            Err(panic) => {
                eprintln!("byte {at}, bit {}", step % 8);
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{noticed} of {steps} were noticed, {harmless} did no harm");
    assert!(noticed * 20 > steps, "{noticed} of {steps}");
    assert!(harmless * 2 > steps, "{harmless} of {steps}");
}
