mod common;
#[path = "commands"]
mod commands {
    pub mod tool;
}
mod world;
