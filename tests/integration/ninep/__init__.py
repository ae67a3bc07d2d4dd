"""The 9P server and client over real sockets."""
