// Package keysource is where private keys are: in files, or behind programs that sign
// and keep the key to themselves. Both are a crypto.Signer to whoever signs.
//
// A signer is made for one public key, which somebody decided on before: a policy
// bundle lists it, an authority has it, a person published it. A file must hold the
// private key to it. A program may print what it likes: a signature leaves here only
// after it verified under that public key, and anything else is an error that says what
// the program did. Nothing that a program prints decides which key is believed.
//
// A program is started anew for each signature, without a shell, without this
// process's environment, in a process group of its own that is ended when it takes too
// long or says too much; at most a few run at a time, and few wait for one. One that
// hangs is left alone for some seconds: meanwhile whoever needs its signature is told so
// at once, and the first who comes afterwards finds out whether it answers again. Files
// and programs are taken only where nobody else can have put them.
package keysource
