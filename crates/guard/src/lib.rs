//! Who may disturb running applications, how much and how fast.
