// franz-go, all capabilities. This file is the Go side of the line protocol, with the checks that all cases share.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"
)

const patience = 60 * time.Second

// attempt takes the bootstrap addresses and the name of topic and group; it returns a note.
type attempt func(ctx context.Context, bootstrap []string, name string) (string, error)

func tell(attempts map[string]attempt) {
	bootstrap := strings.Split(os.Args[1], ",")
	for _, capability := range os.Args[3:] {
		word := "passed"
		note, err := try(attempts[capability], bootstrap, os.Args[2]+"-"+capability)
		if err != nil {
			word, note = "failed", err.Error()
		}
		fmt.Printf("case\t%s\t%s\t%s\n", capability, word, strings.Join(strings.Fields(note), " "))
	}
}

func try(run attempt, bootstrap []string, name string) (note string, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("%v", problem)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	return run(ctx, bootstrap, name)
}

// must ends a case by its error.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func checkEqual(found, expected any, what string) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%s: %.150v instead of %.150v", what, found, expected))
	}
}

// until calls done, which does the polling itself, until it is so.
func until(done func() bool, what string) {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic(fmt.Sprintf("not within %v: %s", patience, what))
		}
	}
}

func numbered(name string, count int) []string {
	values := make([]string, count)
	for number := range values {
		values[number] = fmt.Sprintf("%s-%05d", name, number)
	}
	return values
}
