"""An integer program as C99: a source, a header and a command, which need nothing but a compiler."""
