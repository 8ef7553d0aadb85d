// pod is the only program in the image that pods of tests run: a shell without programs of its own, with the few that a test wants. Under
// two of its names the node itself uses it.
//
//	pause            waits until it is told to end, and collects what others leave: the first process of a pod or a node
//	sh -c SCRIPT     a POSIX shell, whose commands are its own and the ones below
//	cat [FILE]...    copies to the output
//	sleep SECONDS
//	runc …           the node's: see there
//
// The name by which it is called chooses, as the links in the image do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

func main() {
	name := filepath.Base(os.Args[0])
	switch name {
	case "pause":
		pause()
		return
	case "runc":
		runc()
		return
	}
	if name != "sh" || len(os.Args) != 3 || os.Args[1] != "-c" {
		fmt.Fprintf(os.Stderr, "%s: only `sh -c SCRIPT` and `pause` are here\n", name)
		os.Exit(127)
	}
	os.Exit(shell(os.Args[2]))
}

// pause returns when it is told to end. Without collecting, the dead of the namespace would stay.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if child, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); child <= 0 || err != nil {
				break
			}
		}
	}
}

func shell(script string) int {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "sh")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	runner, err := interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.ExecHandlers(programs))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	// As the first process of a container it gets no signal that it does not ask for.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = runner.Run(ctx, file)
	var status interp.ExitStatus
	switch {
	case errors.As(err, &status):
		return int(status)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// programs answers for the commands that are not the shell's own.
func programs(interp.ExecHandlerFunc) interp.ExecHandlerFunc {
	return func(ctx context.Context, words []string) error {
		shell := interp.HandlerCtx(ctx)
		var err error
		switch words[0] {
		case "cat":
			err = cat(shell, words[1:])
		case "sleep":
			err = sleep(ctx, words[1:])
		default:
			fmt.Fprintf(shell.Stderr, "%s: not found\n", words[0])
			return interp.ExitStatus(127)
		}
		if err != nil {
			fmt.Fprintf(shell.Stderr, "%s: %v\n", words[0], err)
			return interp.ExitStatus(1)
		}
		return nil
	}
}

func cat(shell interp.HandlerContext, names []string) error {
	if len(names) == 0 {
		_, err := io.Copy(shell.Stdout, shell.Stdin)
		return err
	}
	for _, name := range names {
		if !filepath.IsAbs(name) {
			name = filepath.Join(shell.Dir, name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := shell.Stdout.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, words []string) error {
	if len(words) != 1 {
		return errors.New("one number of seconds, please")
	}
	seconds, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return nil
	}
}
