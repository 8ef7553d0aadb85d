package main

import (
	"context"
	"log"
	"path"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// faults makes calls fail as files ask for, and writes every call but the frequent ones into the log.
type faults struct{ disk *disk }

func (f faults) intercept(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	call := path.Base(info.FullMethod)
	var answer any
	var err error
	if text, asked := f.disk.fault(call); asked {
		err = status.Error(codes.Internal, strings.TrimSpace(text))
	} else {
		answer, err = handle(ctx, request)
	}
	if err != nil {
		log.Printf("%s: %v", call, err)
	} else if call != "Probe" {
		log.Printf("%s", call)
	}
	return answer, err
}
