//! The examples of settings in `configs/`: each is read, holds the defaults that it says, and would be refused with a wrong key.

use super::tool::Place;
use genailab::{
    data::DataKind,
    model::{SettingsFile, registry::Registry},
};
use std::path::{Path, PathBuf};

const FILES: [&str; 5] = ["vae", "jepa", "jepa-diffusion", "combination", "diffusion"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(format!("{name}.toml"))
}

#[test]
fn every_file_holds_the_defaults_of_its_model() {
    let there: Vec<_> = std::fs::read_dir(path("vae").parent().expect("a folder")).expect("configs").collect();
    assert_eq!(there.len(), FILES.len(), "a file that no test reads");
    let registry = Registry::default();
    for name in FILES {
        let family = registry.family(name).expect("a file is called as its model");
        let settings = |file: &SettingsFile| family.settings(Some(file), DataKind::Cells);
        let file = SettingsFile::read(&path(name)).unwrap_or_else(|error| panic!("{error}"));
        let found = settings(&file).unwrap_or_else(|error| panic!("{error}"));
        found.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        let usual = family.settings(None, DataKind::Cells).expect("defaults");
        assert_eq!(found.to_json(), usual.to_json(), "{name}: the file says that its values are the defaults");

        // A key that there is not, beneath each table.
        let text = std::fs::read_to_string(path(name)).expect("readable");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wrong = folder.path().join("wrong.toml");
        let lines: Vec<&str> = text.lines().collect();
        let own = |line: &&str| line.starts_with('[') && *line != "[split]";
        for header in lines.iter().filter(|line| own(line)) {
            let broken = text.replace(&format!("{header}\n"), &format!("{header}\nnonesuch = 1\n"));
            std::fs::write(&wrong, broken).expect("writable");
            let error = settings(&SettingsFile::read(&wrong).expect("TOML")).err();
            let error = error.unwrap_or_else(|| panic!("{name} {header}: a wrong key is taken")).to_string();
            assert!(error.contains("nonesuch"), "{name} {header}: {error}");
        }
    }
}

#[test]
fn a_training_takes_an_example() {
    let place = Place::new();
    place.run("simulate --cells 300 --genes 40 --seed 3 --out c.h5ad").done();
    let config = path("vae");
    place.run(&format!("train --data c.h5ad --model vae --config {} --epochs 1 --out m", config.display())).done();
}
