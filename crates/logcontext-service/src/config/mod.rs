//! Configuration: a file, the environment and the command line, the later wins.
