//! The binary as people and CI systems meet it: exit codes, formats, terminals, wrong input.

mod controls;
mod doctor;
mod edges;
mod help;
mod sandbox;
mod tools;
