//! Clients of outside systems. Each system has one file.
