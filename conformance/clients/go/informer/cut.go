package main

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// Asked is one request and how it was answered.
type Asked struct {
	Method, Path, Query, Sent, Given string
	Code                             int
}

// IsWatch says whether it is a stream.
func (a Asked) IsWatch() bool { return queryHas(a.Query, "watch") }

// Wire stands between client and server: it keeps what was asked, breaks watches, and holds new ones back.
type Wire struct {
	mutex   sync.Mutex
	asked   []Asked
	breaks  map[int]context.CancelFunc
	next    int
	release chan struct{}
}

// Through puts it in the way of requests.
func (w *Wire) Through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		isWatch := queryHas(request.URL.RawQuery, "watch")
		if isWatch {
			w.waitForRelease(request.Context())
			ctx, cancel := context.WithCancel(request.Context())
			w.keep(cancel)
			request = request.WithContext(ctx)
		}
		response, err := next.RoundTrip(request)
		if isWatch && err == nil {
			response.Body = &stream{response.Body, request.Context()}
		}
		asked := Asked{Method: request.Method, Path: request.URL.Path, Query: request.URL.RawQuery, Sent: request.Header.Get("Content-Type")}
		if err == nil {
			asked.Code, asked.Given = response.StatusCode, response.Header.Get("Content-Type")
		}
		w.mutex.Lock()
		w.asked = append(w.asked, asked)
		w.mutex.Unlock()
		return response, err
	})
}

// Hold breaks all watches and keeps new ones waiting until the function it gives is called.
func (w *Wire) Hold() (release func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	held := make(chan struct{})
	w.release = held
	for _, cancel := range w.breaks {
		cancel()
	}
	w.breaks = nil
	return func() {
		w.mutex.Lock()
		w.release = nil
		w.mutex.Unlock()
		close(held)
	}
}

// Since gives the requests after the first `from`.
func (w *Wire) Since(from int) []Asked {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return append([]Asked(nil), w.asked[from:]...)
}

// Count is how many requests there were.
func (w *Wire) Count() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.asked)
}

func (w *Wire) waitForRelease(ctx context.Context) {
	w.mutex.Lock()
	held := w.release
	w.mutex.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
}

func (w *Wire) keep(cancel context.CancelFunc) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.breaks == nil {
		w.breaks = map[int]context.CancelFunc{}
	}
	w.next++
	w.breaks[w.next] = cancel
}

// stream ends as one does whose connection broke: without another word.
type stream struct {
	io.ReadCloser
	ctx context.Context
}

func (s *stream) Read(buffer []byte) (int, error) {
	n, err := s.ReadCloser.Read(buffer)
	if err != nil && s.ctx.Err() != nil {
		err = io.EOF
	}
	return n, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
