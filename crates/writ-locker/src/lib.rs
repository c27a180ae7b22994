//! writ-locker
