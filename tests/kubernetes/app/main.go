// The container of pods under test, and the pause container: images here have no shell, so this one program does what a test would ask of one.
package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `app: pause | cat FILE... | sha256 FILE | ls DIR | wait-for FILE VALUE [SECONDS] | env NAME | copy FROM TO | try-write FILE | resolve NAME`

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	switch args := os.Args[2:]; os.Args[1] {
	case "pause":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
	case "cat":
		for _, file := range args {
			os.Stdout.Write(read(file))
		}
	case "sha256":
		fmt.Printf("%x\n", sha256.Sum256(read(args[0])))
	case "ls":
		filepath.WalkDir(args[0], func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				fail(err.Error())
			}
			info, err := os.Stat(path)
			if err != nil {
				fail(err.Error())
			}
			fmt.Printf("%v %s\n", info.Mode(), path)
			return nil
		})
	case "wait-for":
		seconds := 60
		if len(args) > 2 {
			fmt.Sscan(args[2], &seconds)
		}
		for deadline := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if bytes, err := os.ReadFile(args[0]); err == nil && string(bytes) == args[1] {
				fmt.Println(time.Now().UnixNano())
				return
			}
		}
		fail("the file never had that value")
	case "env":
		fmt.Print(os.Getenv(args[0]))
	case "copy":
		check(os.WriteFile(args[1], read(args[0]), 0o600))
	case "try-write":
		check(os.WriteFile(args[0], []byte("x"), 0o600))
	case "resolve":
		addresses, err := net.LookupHost(args[0])
		check(err)
		for _, address := range addresses {
			fmt.Println(address)
		}
	default:
		fail(usage)
	}
}

func read(file string) []byte {
	bytes, err := os.ReadFile(file)
	check(err)
	return bytes
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
