//! The owner of a file that a copy into SQLite makes.

use crate::{Folder, copied};

/// The server cannot open a file that root has made in its folder.
#[test]
fn a_file_of_root_in_the_folder_of_another_user_is_warned_of() {
    let folder = Folder::new();
    let (from, other) = (folder.small("from.db"), folder.path("other"));
    std::fs::create_dir(&other).unwrap();
    assert!(!copied(&from, &folder.url("to.db")).contains("belongs to root"));
    if std::os::unix::fs::chown(&other, Some(12_345), None).is_err() {
        println!("only root can do that: skipped");
        return;
    }
    let said = copied(&from, &folder.url("other/to.db"));
    let remedy = format!(": chown --reference={0} {0}/to.db\n", other.display());
    assert!(said.contains("to.db belongs to root, and a server") && said.ends_with(&remedy), "{said}");
}
