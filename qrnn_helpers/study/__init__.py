"""The book's stored runs, a file a subject.  Chapters import these files: `from qrnn_helpers.study import methods`."""
