package server_test

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// The front as a part of your own program, with its own mux and tokens.
func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	front := server.New(pool, server.Config{AppName: "shop", Logger: slog.Default()})
	go func() {
		if err := front.Run(ctx); err != nil {
			log.Fatal(err) // pgtide is not installed, or a privilege is missing
		}
	}()
	mux := http.NewServeMux()
	devices := auth.Bearer([]byte(os.Getenv("PGTIDE_JWT_SECRET")))(front)
	mux.Handle("/sync/", devices)
	mux.Handle("/syncx/", devices)
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", mux))
}
