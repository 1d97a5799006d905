//! Objects as rows, cards and bars in the words of the user.
