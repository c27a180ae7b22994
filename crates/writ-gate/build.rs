//! Builds again when a file of the shipped bundle comes or goes.

fn main() {
    println!("cargo:rerun-if-changed=../../bundle");
}
